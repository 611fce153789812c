import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.LookupTableSource;
import org.apache.flink.table.connector.source.lookup.LookupFunctionProvider;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.functions.LookupFunction;

/** The connector `lookup`: a table of numbers and texts in memory, `rows` of them as `1=one,2=two`, to be looked up. */
public class LookupSource implements DynamicTableSourceFactory {
  private static final ConfigOption<String> ROWS = ConfigOptions.key("rows").stringType().noDefaultValue();

  @Override
  public String factoryIdentifier() {
    return "lookup";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of(ROWS);
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return Set.of();
  }

  @Override
  public DynamicTableSource createDynamicTableSource(Context context) {
    return new Lookup(context.getCatalogTable().getOptions().get(ROWS.key()));
  }

  private static class Lookup implements LookupTableSource {
    private final String rows;

    Lookup(String rows) {
      this.rows = rows;
    }

    @Override
    public LookupRuntimeProvider getLookupRuntimeProvider(LookupContext context) {
      return LookupFunctionProvider.of(new Known(rows));
    }

    @Override
    public DynamicTableSource copy() {
      return new Lookup(rows);
    }

    @Override
    public String asSummaryString() {
      return "lookup";
    }
  }

  public static class Known extends LookupFunction {
    private final String rows;
    private transient Map<Long, Collection<RowData>> known;

    Known(String rows) {
      this.rows = rows;
    }

    @Override
    public Collection<RowData> lookup(RowData key) {
      if (known == null) open();
      return known.getOrDefault(key.getLong(0), List.of());
    }

    private void open() {
      known = new HashMap<>();
      for (String row : rows.split(",")) {
        String[] parts = row.split("=");
        long key = Long.parseLong(parts[0]);
        known.put(key, List.of(GenericRowData.of(key, StringData.fromString(parts[1]))));
      }
    }
  }
}
