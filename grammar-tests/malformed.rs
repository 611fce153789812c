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

/// Letters that statements are seldom made of.
const LETTERS: [char; 24] = [
    '\0', '\n', '\t', ' ', '\'', '"', '`', '(', ')', '[', ']', ',', ';', '.', '-', '*', '$', '9', 'é', 'ß', '\u{200b}',
    '\u{e000}', '漢', '🦀',
];

/// What mutants are made of.
struct Mutants {
    statements: Vec<String>,
    words: Vec<String>,
    numbers: Numbers,
}

impl Mutants {
    fn new(seed: u64) -> Mutants {
        let statements = every_statement();
        let words = statements.iter().flat_map(|text| text.split_inclusive(' ')).map(str::to_owned).collect();
        Mutants { statements, words, numbers: Numbers(seed) }
    }

    fn statement(&mut self) -> String {
        self.statements[self.numbers.below(self.statements.len())].clone()
    }

    /// A statement that nobody should write.
    fn mutant(&mut self) -> String {
        let statement = self.statement();
        match self.numbers.below(4) {
            0 => self.crossed(&statement),
            1 => self.misspelt(statement),
            2 => {
                let reworded = self.reworded(&statement);
                self.misspelt(reworded)
            }
            _ => self.reworded(&statement),
        }
    }

    /// Cuts, drops, doubles, swaps or replaces some of the words of a statement.
    fn reworded(&mut self, statement: &str) -> String {
        let (words, numbers) = (&self.words, &mut self.numbers);
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

    /// Drops, doubles, swaps, replaces or adds some of the letters of a statement.
    fn misspelt(&mut self, statement: String) -> String {
        let numbers = &mut self.numbers;
        let mut letters: Vec<char> = statement.chars().collect();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(letters.len());
            let odd = LETTERS[numbers.below(LETTERS.len())];
            match numbers.below(5) {
                0 if at < letters.len() => drop(letters.remove(at)),
                1 if at < letters.len() => letters.insert(at, letters[at]),
                2 if at + 1 < letters.len() => letters.swap(at, at + 1),
                3 if at < letters.len() => letters[at] = odd,
                _ => letters.insert(at, odd),
            }
        }
        letters.into_iter().collect()
    }

    /// The first part of a statement and the last of another, cut anywhere or between words.
    fn crossed(&mut self, statement: &str) -> String {
        let other = self.statement();
        let cut = |text: &str, numbers: &mut Numbers| {
            let at = text.floor_char_boundary(numbers.below(text.len() + 1));
            match numbers.below(2) {
                0 => text[..at].rfind(' ').unwrap_or(at),
                _ => at,
            }
        };
        let (first, last) = (cut(statement, &mut self.numbers), cut(&other, &mut self.numbers));
        statement[..first].to_owned() + &other[last..]
    }
}

fn engine() -> Engine {
    Engine::builder().allow_directory(Path::new(env!("CARGO_MANIFEST_DIR"))).build().expect("an engine can be built")
}

/// Statements that would write files are left out.
fn writes(text: &str) -> bool {
    let text = text.to_uppercase();
    text.contains("COPY") || text.contains("SINK")
}

/// Runs mutants, a good statement before each so that there is something to read from; gives how many were refused.
fn run(mutants: &mut Mutants, engines: usize) -> usize {
    let mut refused = 0;
    for _ in 0..engines {
        let engine = engine();
        for _ in 0..100 {
            let good = mutants.statement();
            if !writes(&good) {
                let _ = engine.execute(&good);
            }
            let text = mutants.mutant();
            if writes(&text) {
                continue;
            }
            if let Err(error) = engine.execute(&text) {
                assert!(error.code() != riverrun::Code::Internal, "{error}: {text:?}");
                refused += 1;
            }
        }
    }
    refused
}

#[test]
fn malformed_statements_give_errors() {
    let refused = run(&mut Mutants::new(1), 30);
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
