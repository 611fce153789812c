import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** The tables of the loaded workload and the order in which their rows arrive, for the whole process. */
final class Tables {
  /** The column by which several tables are merged. */
  static final String TIME = "date_time";

  private static final Map<String, Table> LOADED = new HashMap<>();
  private static Arrivals arrivals;

  private Tables() {}

  static final class Table {
    final int rows;
    private final Map<String, Column> columns = new LinkedHashMap<>();

    Table(int rows) {
      this.rows = rows;
    }

    Column column(String name) {
      return columns.get(name);
    }
  }

  /** Which table each arriving row is of, as a place in the list of tables, and which row of it. */
  static final class Arrivals {
    final byte[] tables;
    final int[] rows;

    /** The tables in turns of `step` rows: always the next of the table whose first row of it is the earliest. */
    Arrivals(List<Table> merged, int step) {
      int count = merged.stream().mapToInt(table -> table.rows).sum();
      tables = new byte[count];
      rows = new int[count];
      int[] next = new int[merged.size()];
      for (int at = 0; at < count; ) {
        int table = earliest(merged, next);
        int end = Math.min(next[table] + step, merged.get(table).rows);
        for (; next[table] < end; next[table]++, at++) {
          tables[at] = (byte) table;
          rows[at] = next[table];
        }
      }
    }

    private static int earliest(List<Table> merged, int[] next) {
      int earliest = -1;
      long time = Long.MAX_VALUE;
      for (int table = 0; table < next.length; table++) {
        if (next[table] == merged.get(table).rows) continue;
        long of = merged.get(table).column(TIME).number(next[table]);
        if (earliest < 0 || of < time) {
          earliest = table;
          time = of;
        }
      }
      return earliest;
    }
  }

  /** Reads a file for each column, `NAME.COLUMN` in `folder`. */
  static void load(String name, Path folder, int rows, List<String> columns) throws IOException {
    Table table = new Table(rows);
    for (String column : columns) {
      String[] parts = column.split(":");
      try (InputStream file = new BufferedInputStream(Files.newInputStream(folder.resolve(name + "." + parts[0])), 1 << 20)) {
        table.columns.put(parts[0], Column.read(parts[1], file, rows));
      }
    }
    LOADED.put(name, table);
  }

  static void merge(int step, List<String> names) {
    arrivals = new Arrivals(names.stream().map(Tables::table).collect(Collectors.toList()), step);
  }

  /** Gives up the memory of the last tables before the next ones need it. */
  static void forget() {
    LOADED.clear();
    arrivals = null;
  }

  static Table table(String name) {
    Table table = LOADED.get(name);
    if (table == null) throw new IllegalArgumentException("no table " + name);
    return table;
  }

  static Arrivals arrivals() {
    return arrivals;
  }
}
