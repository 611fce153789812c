import org.apache.flink.table.functions.ScalarFunction;

/** Nexmark's own function of q14: how often a letter occurs in a text. */
public class CountChar extends ScalarFunction {
  public long eval(String text, String letter) {
    long count = 0;
    for (int at = 0; at < text.length(); at++) if (text.charAt(at) == letter.charAt(0)) count++;
    return count;
  }
}
