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

/**
 * Writes a result as tab-separated lines: every row as it comes, every change with its kind before it, or the last row
 * of each key, which are the first columns.
 */
final class Answer implements Consumer<RowData>, AutoCloseable {
  enum Form { ROWS, CHANGES, LAST }

  private final Form form;
  private final PrintWriter lines;
  private final List<RowData.FieldGetter> fields;
  private final int keys;
  private final Map<String, String> last = new LinkedHashMap<>();

  Answer(Path file, List<LogicalType> types, Form form, int keys) throws IOException {
    this.form = form;
    this.keys = keys;
    this.lines = new PrintWriter(Files.newBufferedWriter(file));
    this.fields = IntStream.range(0, types.size())
        .mapToObj(column -> RowData.createFieldGetter(types.get(column), column))
        .collect(Collectors.toList());
  }

  @Override
  public void accept(RowData row) {
    switch (form) {
      case ROWS:
        lines.append(text(row, fields.size())).append('\n');
        break;
      case CHANGES:
        lines.append(row.getRowKind().shortString()).append('\t').append(text(row, fields.size())).append('\n');
        break;
      case LAST:
        keep(row);
        break;
    }
  }

  private void keep(RowData row) {
    switch (row.getRowKind()) {
      case INSERT:
      case UPDATE_AFTER:
        last.put(text(row, keys), text(row, fields.size()));
        break;
      case UPDATE_BEFORE:
      case DELETE:
        last.remove(text(row, keys));
        break;
    }
  }

  /** The first `count` fields. */
  private String text(RowData row, int count) {
    StringBuilder text = new StringBuilder();
    for (int field = 0; field < count; field++) {
      if (field > 0) text.append('\t');
      text.append(fields.get(field).getFieldOrNull(row));
    }
    return text.toString();
  }

  @Override
  public void close() {
    last.values().forEach(line -> lines.append(line).append('\n'));
    lines.close();
  }
}
