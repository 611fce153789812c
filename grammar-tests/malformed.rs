//! Statements that nobody should write: cut, shuffled and mutated from the scripts, and far too deep or long.
//! Each gives an answer or an error, and never a panic.

#[allow(dead_code, reason = "only the reading of scripts is used here")]
mod script;

use std::path::Path;

use riverrun::Engine;
use script::{Script, statements};

/// A generator of numbers that gives the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

fn every_statement() -> Vec<String> {
    let pattern = format!("{}/grammar-tests/**/*.test", env!("CARGO_MANIFEST_DIR"));
    let paths = glob::glob(&pattern).expect("the pattern is a glob").filter_map(Result::ok);
    let scripts = paths.map(|path| Script::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    scripts.flat_map(|script| script.blocks).flat_map(|block| statements(&block.sql)).collect()
}

/// Cuts, drops, doubles, swaps or replaces some of the words of a statement.
fn mutated(statement: &str, words: &[String], numbers: &mut Numbers) -> String {
    let mut parts: Vec<String> = statement.split_inclusive([' ', '(', ')', ',']).map(str::to_owned).collect();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(parts.len());
        match numbers.below(5) {
            0 => parts.truncate(at),
            1 if at < parts.len() => drop(parts.remove(at)),
            2 if at < parts.len() => parts.insert(at, parts[at].clone()),
            3 if at < parts.len() => {
                let other = numbers.below(parts.len());
                parts.swap(at, other);
            }
            _ if at < parts.len() => parts[at] = words[numbers.below(words.len())].clone(),
            _ => {}
        }
    }
    parts.concat()
}

fn engine() -> Engine {
    Engine::builder().allow_directory(Path::new(env!("CARGO_MANIFEST_DIR"))).build().expect("an engine can be built")
}

#[test]
fn malformed_statements_give_errors() {
    let statements = every_statement();
    let words: Vec<String> = statements.iter().flat_map(|text| text.split_inclusive(' ')).map(str::to_owned).collect();
    let mut numbers = Numbers(1);
    let mut refused = 0;
    for _ in 0..20 {
        let engine = engine();
        for _ in 0..100 {
            // A good statement now and then, so that there is something to read from.
            let good = &statements[numbers.below(statements.len())];
            if !good.to_uppercase().contains("COPY") && !good.to_uppercase().contains("SINK") {
                let _ = engine.execute(good);
            }
            let text = mutated(&statements[numbers.below(statements.len())], &words, &mut numbers);
            if text.to_uppercase().contains("COPY") || text.to_uppercase().contains("SINK") {
                continue;
            }
            if let Err(error) = engine.execute(&text) {
                assert!(error.code() != riverrun::Code::Internal, "{error}: {text}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1_000, "only {refused} statements were refused");
}

#[test]
fn what_is_too_deep_or_too_long_gives_an_error() {
    const BYTES: usize = 100_000;
    let engine = engine();
    engine.execute("CREATE STREAM t (k BIGINT)").expect("the stream is new");
    let repeated = |begin: &str, part: &str, end: &str| format!("{begin}{}{end}", part.repeat(BYTES / part.len()));
    for text in [
        repeated("SELECT ", "(", "1"),
        format!("SELECT {}1{}", "(".repeat(BYTES / 2), ")".repeat(BYTES / 2)),
        repeated("SELECT * FROM t ", "JOIN t ", ""),
        repeated("SELECT 1", "+1", ""),
        repeated("SELECT 1", " UNION SELECT 1", ""),
        repeated("SELECT ", "NOT ", "true"),
        repeated("SELECT ", "CASE WHEN ", "1"),
        repeated("SELECT ", "abs(", "1"),
        repeated("SELECT * FROM ", "(SELECT * FROM ", "t"),
    ] {
        assert!(engine.execute(&text).is_err(), "{}…", &text[..40]);
    }
}
