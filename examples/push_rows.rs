//! Pushes rows, and reads the answers that follow from each of them at once.

use riverrun::{Engine, Error};

fn main() -> Result<(), Error> {
    let engine = Engine::new();
    engine.execute("CREATE STREAM orders (customer VARCHAR, amount DOUBLE)")?;
    let mut totals = engine.query(
        "SELECT customer, count(*) AS orders, sum(amount) AS total FROM orders GROUP BY customer EMIT RUNNING",
    )?;
    let mut orders = engine.appender("orders")?;
    for row in [("ada", 9.5), ("bob", 3.0), ("ada", 0.5)] {
        orders.append_row(row)?;
        for answer in totals.rows::<(String, i64, f64)>() {
            let (customer, count, total) = answer?;
            println!("{customer}: {count} orders, {total} in all");
        }
    }
    orders.close()?;
    println!("finished: {}", totals.is_finished());
    Ok(())
}
