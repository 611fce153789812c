import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.table.data.StringData;

/** The bids, decoded into arrays before the clock starts. One table at a time, for the whole process. */
final class Bids {
  private static final int CHANNEL = 3;
  static final int COLUMNS = 5;

  static long[][] numbers;
  static StringData[] channels;

  private Bids() {}

  /** Reads tab-separated lines without a header, `rows` of them. */
  static void load(Path file, int rows) throws IOException {
    forget();
    numbers = new long[COLUMNS][rows];
    channels = new StringData[rows];
    // Flink's strings are made once for each channel, as a source that knows its channels would.
    Map<String, StringData> known = new HashMap<>();
    try (BufferedReader lines = Files.newBufferedReader(file)) {
      for (int row = 0; row < rows; row++) put(row, lines.readLine().split("\t", -1), known);
    }
  }

  /** Gives up the last table's memory before the next one needs it. */
  static void forget() {
    numbers = null;
    channels = null;
  }

  static Object field(int column, int row) {
    return column == CHANNEL ? channels[row] : (Object) numbers[column][row];
  }

  private static void put(int row, String[] fields, Map<String, StringData> known) {
    for (int column = 0; column < COLUMNS; column++) {
      if (column == CHANNEL) channels[row] = known.computeIfAbsent(fields[column], Bids::text);
      else numbers[column][row] = Long.parseLong(fields[column]);
    }
  }

  private static StringData text(String of) {
    return StringData.fromBytes(of.getBytes(StandardCharsets.UTF_8));
  }
}
