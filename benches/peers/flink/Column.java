import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.core.memory.MemorySegment;
import org.apache.flink.core.memory.MemorySegmentFactory;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.data.binary.BinaryStringData;

/** The values of a column, decoded into what can be handed out with the least work. */
interface Column {
  /** As many rows as an Arrow batch of the harness has; its files hold one batch after the other. */
  int BATCH_ROWS = 8192;

  /** Flink's own form of a value. */
  Object value(int row);

  /** A number, or a time in milliseconds. */
  default long number(int row) {
    throw new UnsupportedOperationException("a text is no number");
  }

  /**
   * Reads the batches' buffers as Arrow has them: 8 bytes a number or time; for texts 4 bytes each for where they begin
   * and the last one ends, and then the texts.
   */
  static Column read(String kind, InputStream file, int rows) throws IOException {
    switch (kind) {
      case "number":
        return new Numbers(numbers(file, rows));
      case "time":
        return new Times(numbers(file, rows));
      case "text":
        return new Texts(file, rows);
      case "word":
        return new Words(new Texts(file, rows), rows);
      default:
        throw new IllegalArgumentException("no kind of column " + kind);
    }
  }

  private static long[] numbers(InputStream file, int rows) throws IOException {
    long[] numbers = new long[rows];
    for (int row = 0; row < rows; row += BATCH_ROWS) {
      int length = Math.min(BATCH_ROWS, rows - row);
      bytes(file, 8 * length).asLongBuffer().get(numbers, row, length);
    }
    return numbers;
  }

  private static ByteBuffer bytes(InputStream file, int length) throws IOException {
    byte[] bytes = file.readNBytes(length);
    if (bytes.length < length) throw new EOFException("a column's file is too short");
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** BIGINT */
  final class Numbers implements Column {
    private final long[] values;

    Numbers(long[] values) {
      this.values = values;
    }

    @Override
    public Object value(int row) {
      return values[row];
    }

    @Override
    public long number(int row) {
      return values[row];
    }
  }

  /** TIMESTAMP(3) */
  final class Times implements Column {
    private final long[] values;

    Times(long[] values) {
      this.values = values;
    }

    @Override
    public Object value(int row) {
      return TimestampData.fromEpochMillis(values[row]);
    }

    @Override
    public long number(int row) {
      return values[row];
    }
  }

  /** STRING: each batch's texts stay in one piece, and a value is a view of it. */
  final class Texts implements Column {
    private final MemorySegment[][] batches;
    private final int[][] starts;

    Texts(InputStream file, int rows) throws IOException {
      int count = (rows + BATCH_ROWS - 1) / BATCH_ROWS;
      batches = new MemorySegment[count][];
      starts = new int[count][];
      for (int batch = 0; batch < count; batch++) {
        int length = Math.min(BATCH_ROWS, rows - batch * BATCH_ROWS);
        starts[batch] = new int[length + 1];
        bytes(file, 4 * (length + 1)).asIntBuffer().get(starts[batch]);
        byte[] texts = bytes(file, starts[batch][length]).array();
        batches[batch] = new MemorySegment[] {MemorySegmentFactory.wrap(texts)};
      }
    }

    @Override
    public StringData value(int row) {
      int[] start = starts[row / BATCH_ROWS];
      int at = row % BATCH_ROWS;
      return BinaryStringData.fromAddress(batches[row / BATCH_ROWS], start[at], start[at + 1] - start[at]);
    }
  }

  /** STRING of which there are few: each is made once, as a source that knows them would. */
  final class Words implements Column {
    private final StringData[] values;

    Words(Texts texts, int rows) {
      values = new StringData[rows];
      Map<String, StringData> known = new HashMap<>();
      for (int row = 0; row < rows; row++) values[row] = known.computeIfAbsent(texts.value(row).toString(), Words::word);
    }

    private static StringData word(String of) {
      return StringData.fromBytes(of.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public Object value(int row) {
      return values[row];
    }
  }
}
