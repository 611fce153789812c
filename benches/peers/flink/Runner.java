import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.types.logical.LogicalType;

/**
 * Flink SQL on a mini-cluster in this process, driven by runner.py with tab-separated lines:
 *
 * <pre>
 * bids FILE ROWS                              decodes the bids into memory
 * forget                                      lets go of them
 * run SOURCE ROWS MINI_BATCH CHANGES SQL      answers: ok SECONDS CPU_SECONDS ROWS_OUT
 * answer SOURCE ROWS MINI_BATCH CHANGES SQL FILE KEEP
 * </pre>
 *
 * SOURCE is `memory`, or a format of Flink's and a file: `csv:/path`. Every run is a job of its own.
 */
public final class Runner {
  private static final String COLUMNS = "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, date_time BIGINT";

  private Runner() {}

  public static void main(String[] args) throws Exception {
    PrintStream replies = System.out;
    System.setOut(System.err);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    replies.println("ok\t" + EnvironmentInformation.getVersion());
    for (String line; (line = lines.readLine()) != null; ) replies.println(reply(line.split("\t")));
    // Flink leaves threads behind that would keep the process alive.
    System.exit(0);
  }

  private static String reply(String[] said) {
    try {
      return "ok\t" + carryOut(said);
    } catch (Throwable error) {
      // Memory that ran out in one job must not end the conversation.
      error.printStackTrace();
      return "error\t" + String.valueOf(error).replaceAll("\\s", " ");
    }
  }

  private static String carryOut(String[] said) throws Exception {
    switch (said[0]) {
      case "bids":
        Bids.load(Path.of(said[1]), Integer.parseInt(said[2]));
        return "";
      case "forget":
        Bids.forget();
        return "";
      case "run":
        return measure(said);
      case "answer":
        answer(said);
        return "";
      default:
        throw new IllegalArgumentException("no command " + said[0]);
    }
  }

  private static String measure(String[] said) throws Exception {
    CountingSink.tap = null;
    CountingSink.ROWS.set(0);
    long wall = System.nanoTime();
    long cpu = cpuNanos();
    prepare(said).executeInsert("answer").await();
    double seconds = (System.nanoTime() - wall) / 1e9;
    return seconds + "\t" + (cpuNanos() - cpu) / 1e9 + "\t" + CountingSink.ROWS.get();
  }

  private static void answer(String[] said) throws Exception {
    Table result = prepare(said);
    try (Answer answer = new Answer(Path.of(said[6]), types(result), Answer.Keep.valueOf(said[7]))) {
      CountingSink.tap = answer;
      result.executeInsert("answer").await();
    } finally {
      CountingSink.tap = null;
    }
  }

  private static Table prepare(String[] said) {
    TableEnvironment environment = environment(said[3]);
    environment.executeSql("CREATE TABLE bids (" + COLUMNS + ") WITH (" + connector(said[1], said[2]) + ")");
    Table result = environment.sqlQuery(said[5]);
    String sink = "'connector'='counting','changes'='" + said[4] + "'";
    environment.executeSql("CREATE TABLE answer (" + columns(result) + ") WITH (" + sink + ")");
    return result;
  }

  /** One slot, rows reused, state on the heap, no checkpoints: what favours Flink. */
  private static TableEnvironment environment(String miniBatch) {
    Configuration settings = new Configuration();
    settings.setString("parallelism.default", "1");
    settings.setString("pipeline.object-reuse", "true");
    settings.setString("taskmanager.memory.managed.size", "1g");
    settings.setString("taskmanager.memory.network.min", "256m");
    settings.setString("taskmanager.memory.network.max", "256m");
    settings.setString("rest.port", "0");
    settings.setString("execution.runtime-mode", "streaming");
    settings.setString("table.exec.mini-batch.enabled", miniBatch.equals("0") ? "false" : "true");
    settings.setString("table.exec.mini-batch.allow-latency", "1s");
    settings.setString("table.exec.mini-batch.size", miniBatch.equals("0") ? "-1" : miniBatch);
    return TableEnvironment.create(EnvironmentSettings.newInstance().withConfiguration(settings).build());
  }

  private static String connector(String source, String rows) {
    if (source.equals("memory")) return "'connector'='memory','rows'='" + rows + "'";
    String[] file = source.split(":", 2);
    return "'connector'='filesystem','path'='" + file[1] + "','format'='" + file[0] + "'";
  }

  private static String columns(Table result) {
    List<String> names = result.getResolvedSchema().getColumnNames();
    List<LogicalType> types = types(result);
    return IntStream.range(0, names.size())
        .mapToObj(i -> "`" + names.get(i) + "` " + types.get(i).copy(true).asSerializableString())
        .collect(Collectors.joining(", "));
  }

  private static List<LogicalType> types(Table result) {
    return result.getResolvedSchema().getColumnDataTypes().stream()
        .map(type -> type.getLogicalType())
        .collect(Collectors.toList());
  }

  /** CPU time of the whole process, the compiler's and the collector's threads included. */
  private static long cpuNanos() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }
}
