import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSinkFactory;

/** The connector `counting`: counts what comes, and shows each row to {@link #tap} when an answer is asked for. */
public class CountingSink implements DynamicTableSinkFactory {
  static final AtomicLong ROWS = new AtomicLong();
  static volatile Consumer<RowData> tap;

  private static final ConfigOption<String> CHANGES = ConfigOptions.key("changes").stringType().noDefaultValue();

  @Override
  public String factoryIdentifier() {
    return "counting";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of(CHANGES);
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return Set.of();
  }

  @Override
  public DynamicTableSink createDynamicTableSink(Context context) {
    String changes = context.getCatalogTable().getOptions().get("changes");
    return new Counting(changes.equals("all") ? ChangelogMode.all() : ChangelogMode.upsert());
  }

  private static class Counting implements DynamicTableSink {
    private final ChangelogMode mode;

    Counting(ChangelogMode mode) {
      this.mode = mode;
    }

    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
      return mode;
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
      return SinkV2Provider.of(new Counter());
    }

    @Override
    public DynamicTableSink copy() {
      return new Counting(mode);
    }

    @Override
    public String asSummaryString() {
      return "counting";
    }
  }

  private static class Counter implements Sink<RowData> {
    @Override
    public SinkWriter<RowData> createWriter(WriterInitContext context) {
      return new Writer(tap);
    }
  }

  private static class Writer implements SinkWriter<RowData> {
    private final Consumer<RowData> shown;
    private long rows;

    Writer(Consumer<RowData> shown) {
      this.shown = shown;
    }

    @Override
    public void write(RowData row, Context context) {
      rows++;
      if (shown != null) shown.accept(row);
    }

    @Override
    public void flush(boolean endOfInput) {}

    @Override
    public void close() {
      ROWS.addAndGet(rows);
    }
  }
}
