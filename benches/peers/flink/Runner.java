import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.Arrays;
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
 * table NAME FOLDER ROWS COLUMN:KIND …     decodes a table into memory
 * merge STEP NAME …                        lets the rows of several tables arrive in turns of so many
 * forget                                   lets go of all tables
 * run SETTINGS TABLES CHANGES SQL          answers: ok SECONDS CPU_SECONDS ROWS_OUT
 * answer SETTINGS TABLES CHANGES SQL FILE FORM KEYS
 *                                          answers: ok COLUMN:TYPE …
 * </pre>
 *
 * SETTINGS are `key=value`, TABLES the statements that make what SQL reads, both with `;` between them. Every run is a
 * job of its own.
 */
public final class Runner {
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
    List<String> words = Arrays.asList(said);
    switch (said[0]) {
      case "table":
        Tables.load(said[1], Path.of(said[2]), Integer.parseInt(said[3]), words.subList(4, words.size()));
        return "";
      case "merge":
        Tables.merge(Integer.parseInt(said[1]), words.subList(2, words.size()));
        return "";
      case "forget":
        Tables.forget();
        return "";
      case "run":
        return measure(said);
      case "answer":
        return answer(said);
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

  private static String answer(String[] said) throws Exception {
    Table result = prepare(said);
    List<LogicalType> types = types(result);
    try (Answer answer = open(said, types)) {
      CountingSink.tap = answer;
      result.executeInsert("answer").await();
    } finally {
      CountingSink.tap = null;
    }
    List<String> names = result.getResolvedSchema().getColumnNames();
    return IntStream.range(0, names.size())
        .mapToObj(i -> names.get(i) + ":" + types.get(i).getTypeRoot())
        .collect(Collectors.joining("\t"));
  }

  private static Answer open(String[] said, List<LogicalType> types) throws IOException {
    return new Answer(Path.of(said[5]), types, Answer.Form.valueOf(said[6]), Integer.parseInt(said[7]));
  }

  private static Table prepare(String[] said) {
    TableEnvironment environment = environment(said[1]);
    environment.createTemporarySystemFunction("count_char", CountChar.class);
    for (String statement : said[2].split(";")) environment.executeSql(statement);
    Table result = environment.sqlQuery(said[4]);
    String sink = "'connector'='counting','changes'='" + said[3] + "'";
    environment.executeSql("CREATE TABLE answer (" + columns(result) + ") WITH (" + sink + ")");
    return result;
  }

  /** One slot, rows reused, state on the heap, no checkpoints: what favours Flink. */
  private static TableEnvironment environment(String more) {
    Configuration settings = new Configuration();
    settings.setString("parallelism.default", "1");
    settings.setString("pipeline.object-reuse", "true");
    settings.setString("taskmanager.memory.managed.size", "1g");
    settings.setString("taskmanager.memory.network.min", "256m");
    settings.setString("taskmanager.memory.network.max", "256m");
    settings.setString("rest.port", "0");
    settings.setString("execution.runtime-mode", "streaming");
    settings.setString("table.local-time-zone", "UTC");
    for (String setting : more.split(";")) {
      String[] parts = setting.split("=", 2);
      if (parts.length == 2) settings.setString(parts[0], parts[1]);
    }
    return TableEnvironment.create(EnvironmentSettings.newInstance().withConfiguration(settings).build());
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
