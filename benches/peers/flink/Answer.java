import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.LogicalType;

/** Collects a result as tab-separated lines: every row as it comes, or a changelog folded by its first column. */
final class Answer implements Consumer<RowData>, AutoCloseable {
  enum Keep { EVERY_ROW, LAST_OF_KEY }

  private final Keep keep;
  private final PrintWriter lines;
  private final List<RowData.FieldGetter> fields;
  private final Map<String, String> folded = new LinkedHashMap<>();

  Answer(Path file, List<LogicalType> types, Keep keep) throws IOException {
    this.keep = keep;
    this.lines = new PrintWriter(Files.newBufferedWriter(file));
    this.fields = IntStream.range(0, types.size())
        .mapToObj(column -> RowData.createFieldGetter(types.get(column), column))
        .collect(Collectors.toList());
  }

  @Override
  public void accept(RowData row) {
    switch (keep) {
      case EVERY_ROW:
        lines.println(line(row));
        break;
      case LAST_OF_KEY:
        fold(row);
        break;
    }
  }

  private void fold(RowData row) {
    String key = String.valueOf(fields.get(0).getFieldOrNull(row));
    switch (row.getRowKind()) {
      case INSERT:
      case UPDATE_AFTER:
        folded.put(key, line(row));
        break;
      case UPDATE_BEFORE:
      case DELETE:
        folded.remove(key);
        break;
    }
  }

  private String line(RowData row) {
    return fields.stream().map(field -> String.valueOf(field.getFieldOrNull(row))).collect(Collectors.joining("\t"));
  }

  @Override
  public void close() {
    folded.values().forEach(lines::println);
    lines.close();
  }
}
