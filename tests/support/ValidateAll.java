import com.pixelmed.validate.DicomSRValidator;

/** Validates several Structured Reports in one process: compiling the style sheets takes longest. */
public class ValidateAll {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("File " + file);
            System.out.println(validator.validate(file));
        }
    }
}
