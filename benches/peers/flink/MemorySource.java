import java.util.Map;
import java.util.Set;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.connector.source.SourceProvider;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.types.DataType;

/**
 * The connector `memory`: the first `rows` rows of {@link Tables}, handed out by a bounded generator. Nothing is parsed.
 *
 * <p>One table has its own columns. Several, `tables` with commas, are one stream in the order of {@link Tables.Arrivals}:
 * its column `kind` says which table a row is of, `date_time` is that of whichever it is, and all else is called
 * `TABLE_COLUMN` and NULL in rows of other tables.
 */
public class MemorySource implements DynamicTableSourceFactory {
  private static final ConfigOption<String> TABLES = ConfigOptions.key("tables").stringType().noDefaultValue();
  private static final ConfigOption<Integer> ROWS = ConfigOptions.key("rows").intType().noDefaultValue();

  @Override
  public String factoryIdentifier() {
    return "memory";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of(TABLES, ROWS);
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return Set.of();
  }

  @Override
  public DynamicTableSource createDynamicTableSource(Context context) {
    Map<String, String> options = context.getCatalogTable().getOptions();
    DataType type = context.getPhysicalRowDataType();
    String[] fields = DataType.getFieldNames(type).toArray(new String[0]);
    String[] tables = options.get(TABLES.key()).split(",");
    return new Scan(new Rows(tables, fields), Integer.parseInt(options.get(ROWS.key())), type);
  }

  /** Gives a fresh row each time: downstream operators may keep it. */
  public static class Rows implements GeneratorFunction<Long, RowData> {
    private final String[] tables;
    private final String[] fields;
    /** For each table, the columns that fill the fields; none for a field that is another table's. */
    private transient Column[][] columns;
    private transient Tables.Arrivals arrivals;

    Rows(String[] tables, String[] fields) {
      this.tables = tables;
      this.fields = fields;
    }

    @Override
    public RowData map(Long at) {
      if (columns == null) open();
      if (arrivals == null) return row(columns[0], at.intValue());
      int table = arrivals.tables[at.intValue()];
      GenericRowData row = row(columns[table], arrivals.rows[at.intValue()]);
      row.setField(0, table);
      return row;
    }

    private GenericRowData row(Column[] columns, int at) {
      GenericRowData row = new GenericRowData(columns.length);
      for (int field = 0; field < columns.length; field++) {
        if (columns[field] != null) row.setField(field, columns[field].value(at));
      }
      return row;
    }

    private void open() {
      columns = new Column[tables.length][fields.length];
      for (int table = 0; table < tables.length; table++) {
        for (int field = 0; field < fields.length; field++) columns[table][field] = column(tables[table], fields[field]);
      }
      arrivals = tables.length > 1 ? Tables.arrivals() : null;
    }

    private Column column(String table, String field) {
      Tables.Table of = Tables.table(table);
      if (tables.length == 1 || field.equals(Tables.TIME)) return of.column(field);
      return field.startsWith(table + "_") ? of.column(field.substring(table.length() + 1)) : null;
    }
  }

  private static class Scan implements ScanTableSource {
    private final Rows generator;
    private final int rows;
    private final DataType type;

    Scan(Rows generator, int rows, DataType type) {
      this.generator = generator;
      this.rows = rows;
      this.type = type;
    }

    @Override
    public ChangelogMode getChangelogMode() {
      return ChangelogMode.insertOnly();
    }

    @Override
    public ScanRuntimeProvider getScanRuntimeProvider(ScanContext scan) {
      return SourceProvider.of(new DataGeneratorSource<>(
          generator, rows, RateLimiterStrategy.noOp(), scan.createTypeInformation(type)));
    }

    @Override
    public DynamicTableSource copy() {
      return new Scan(generator, rows, type);
    }

    @Override
    public String asSummaryString() {
      return "memory";
    }
  }
}
