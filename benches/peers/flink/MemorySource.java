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

/** The connector `memory`: the first `rows` of {@link Bids}, handed out by a bounded generator. Nothing is parsed. */
public class MemorySource implements DynamicTableSourceFactory {
  private static final ConfigOption<Integer> ROWS = ConfigOptions.key("rows").intType().noDefaultValue();

  @Override
  public String factoryIdentifier() {
    return "memory";
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
    return new Scan(Integer.parseInt(context.getCatalogTable().getOptions().get("rows")), context.getPhysicalRowDataType());
  }

  /** Gives a fresh row each time: downstream operators may keep it. */
  public static class Rows implements GeneratorFunction<Long, RowData> {
    @Override
    public RowData map(Long row) {
      GenericRowData bid = new GenericRowData(Bids.COLUMNS);
      for (int column = 0; column < Bids.COLUMNS; column++) bid.setField(column, Bids.field(column, row.intValue()));
      return bid;
    }
  }

  private static class Scan implements ScanTableSource {
    private final int rows;
    private final DataType type;

    Scan(int rows, DataType type) {
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
          new Rows(), rows, RateLimiterStrategy.noOp(), scan.createTypeInformation(type)));
    }

    @Override
    public DynamicTableSource copy() {
      return new Scan(rows, type);
    }

    @Override
    public String asSummaryString() {
      return "memory";
    }
  }
}
