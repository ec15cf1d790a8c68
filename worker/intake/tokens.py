r"""Splits free texts of DICOM headers into comparable words, in any script.

Descriptions are tokenised rather than searched: `\b` does not split at an underscore, and `fat`
means one thing in `FAT: Ax T2 FSE Flex` and another in `t2_tse_fatsat`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_TOKEN: Final = re.compile(r"[a-z0-9]+\*?|[^\W_a-z0-9]+")
"""Latin letters and digits, or letters of other scripts: `T1增强` is two words."""


def plain(text: str) -> str:
    """Lower case without accents, width variants and invisible characters.

    The Turkish dotless i becomes an i.
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("ı", "i"))
    letters = (c for c in decomposed if not unicodedata.combining(c))
    # Composed again: a Korean syllable is one character.
    return unicodedata.normalize("NFC", "".join(letters))


def terms(text: str) -> frozenset[str]:
    """The words of a list of vocabulary, separated by white space, as `tokens` gives them."""
    return frozenset(plain(text).split())


def tokens(text: str) -> tuple[str, ...]:
    """The words of a text, see `plain`; `t2*` keeps its star.

    Chinese, Japanese and Korean texts are split into the known terms; what lies between two of
    them is one word.
    """
    found: list[str] = []
    for word in _TOKEN.findall(plain(text)):
        found += filter(None, _TERMS.split(word)) if word >= _FIRST_UNSPACED else (word,)
    return tuple(found)


_FIRST_UNSPACED: Final = "\u1100"
"""Scripts from here on write words without spaces, or with particles attached."""

_UNSPACED: Final = terms(
    "腰椎 腰骶椎 腰骶 腰仙椎 腰薦椎 腰髓 腰部 요추 요천추 허리 头部 头颅 颅脑 大脑 脑 頭部 "
    "頭頸 脳 大脳 腦 颈椎 頚椎 頸椎 颈 胸椎 胸部 膝关节 膝関節 膝 肩关节 肩関節 肩 髋关节 "
    "髖關節 股関節 髋 骨盆 骨盤 盆腔 腹部 踝关节 足関節 踝 腕关节 手関節 腕 肘关节 肘関節 肘 "
    "前列腺 前立腺 乳腺 肝脏 肝臓 肝 心脏 心臓 뇌 두부 경추 흉추 무릎 슬관절 어깨 견관절 "
    "고관절 골반 복부 발목 손목 전립선 유방 增强 增強 造影剂 造影劑 造影剤 造影 对比剂 對比劑 "
    "조영제 조영 증강 打药 平扫 平掃 单纯 単純 前 后 後 전 후 无 無 非 未 没有 不 なし 無し "
    "없음 없이 비 미 未使用 不用 矢状位 矢状面 矢状 矢狀 轴位 軸位 横断 橫斷 轴状 水平断 "
    "冠状位 冠状面 冠状 冠狀 시상 축상 횡단 관상 定位像 定位 位置決め 스카우트 压脂 抑脂 "
    "脂肪抑制 螺钉 螺釘 内固定 內固定 融合 植入物 钢板 金属 金屬 スクリュー 固定術 "
    "インプラント 나사 고정술 유합술 임플란트 移行椎 이행성 이행 骶化 腰化 仙椎化 腰椎化"
)
_TERMS: Final = re.compile(
    "(" + "|".join(sorted(map(re.escape, _UNSPACED), key=lambda term: (-len(term), term))) + ")"
)
"""The terms of languages that write words without spaces, longest first."""
