//! The invariants of `docs/architecture.md`, read off the source. Most of them are absences.

use std::path::{Path, PathBuf};

/// A source file as the rules see it.
struct File {
    /// The path below the repository, with `/`.
    path: String,
    /// The text.
    text: String,
    /// The lines of code that are no tests, with their numbers; comments and texts in quotes are blanked out.
    code: Vec<(usize, String)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files() -> Vec<File> {
    let mut found = Vec::new();
    for directory in ["src", "grammar-tests", "examples", "benches"] {
        collect(&root().join(directory), &mut found);
    }
    found.sort();
    found.iter().map(|path| File::read(path)).collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        match path.is_dir() {
            true => collect(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

impl File {
    fn read(path: &Path) -> File {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let relative = path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/");
        // Whole files of tests are declared under `#[cfg(test)]` where they are named.
        let tests = relative.starts_with("src/")
            && ["/tests.rs", "/testing.rs", "/tests/"].iter().any(|part| relative.contains(part));
        let code = if tests { vec![] } else { without_tests(&blanked(&text)) };
        File { path: relative, text, code }
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

/// The text with comments, texts and characters in quotes blanked out, line by line.
fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let closing = format!("\"{}", "#".repeat(hashes));
            let opening = hashes + 2;
            rest[opening..].find(&closing).map_or(rest.len(), |at| opening + at + closing.len())
        } else if character == '"' {
            quoted(rest)
        } else if let Some(length) = character_literal(rest) {
            length
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
            continue;
        };
        out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    out
}

/// How many `#` a raw string that begins here has.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.chars().take_while(|c| *c == '#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match (escaped, character) {
            (false, '"') => return at + 1,
            (false, '\\') => escaped = true,
            (_, _) => escaped = false,
        }
    }
    rest.len()
}

/// The length of a literal like `'a'` or `'\n'`; a lifetime is none.
fn character_literal(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('\'')?;
    let literal = match after.strip_prefix('\\') {
        Some(escape) => 2 + escape.chars().next()?.len_utf8() + escape[1..].find('\'')?,
        None => 1 + after.chars().next()?.len_utf8(),
    };
    rest[literal..].starts_with('\'').then_some(literal + 1)
}

/// The lines outside of `#[cfg(test)]` items, numbered from 1.
fn without_tests(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim_start().starts_with("#[cfg(test)]") || line.trim_start().starts_with("#[test]") {
            skip_item(&mut lines);
        } else {
            kept.push((number + 1, line.to_owned()));
        }
    }
    kept
}

fn skip_item<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    let mut depth = 0_i64;
    for (_, line) in lines {
        depth += braces(line);
        if depth == 0 && (line.contains('}') || line.trim_end().ends_with(';')) {
            return;
        }
    }
}

fn braces(line: &str) -> i64 {
    line.chars().map(|character| i64::from(character == '{') - i64::from(character == '}')).sum()
}

/// Names that only some files may name.
struct Rule {
    /// What the rule is for, as the message says it.
    meaning: &'static str,
    /// Where it holds.
    within: &'static [&'static str],
    /// Where it does not.
    except: &'static [&'static str],
    /// What may not be named.
    names: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        meaning: "the syntax looks no name up",
        within: &["src/sql/"],
        except: &[],
        names: &["crate::catalog", "crate::plan", "crate::engine", "datafusion"],
    },
    Rule {
        meaning: "the plan does no I/O",
        within: &["src/plan/"],
        except: &[],
        names: &["std::fs", "std::io", "std::net", "crate::io", "crate::engine", "crate::runtime"],
    },
    Rule {
        meaning: "operators never touch a file, spawn, block or read a clock",
        within: &["src/operators/", "src/state/"],
        except: &[],
        names: &[
            "std::fs",
            "std::net",
            "std::thread",
            "std::sync::mpsc",
            "Instant",
            "SystemTime",
            "Utc::now",
            "crate::io",
        ],
    },
    Rule {
        meaning: "only runtime/clock.rs reads a clock",
        within: &["src/"],
        except: &["src/runtime/clock.rs", "src/bin/"],
        names: &["SystemTime", "std::time::Instant", "Instant::now", "Utc::now", "Local::now"],
    },
    Rule {
        meaning: "only plan/ and expr.rs name DataFusion's planning types",
        within: &["src/"],
        except: &["src/plan/", "src/expr.rs", "src/expr/"],
        names: &[
            "datafusion_sql",
            "datafusion_optimizer",
            "datafusion_physical_expr",
            "LogicalPlan",
            "LogicalPlanBuilder",
        ],
    },
    Rule {
        meaning: "only functions and the catalog name DataFusion's function types",
        within: &["src/sql/", "src/types/", "src/operators/", "src/state/", "src/runtime/", "src/io/", "src/console/"],
        except: &["src/operators/aggregate/"],
        names: &["datafusion_expr"],
    },
    Rule {
        meaning: "files open only through io/access.rs",
        within: &["src/"],
        except: &["src/io/access.rs", "src/bin/"],
        names: &["File::open", "File::create", "OpenOptions", "fs::read", "fs::write", "TcpStream", "UdpSocket"],
    },
    Rule {
        meaning: "the binary, examples, benches and tests use only what lib.rs exports",
        within: &["src/bin/", "examples/", "benches/", "grammar-tests/"],
        except: &[],
        names: &["datafusion_sql", "datafusion_optimizer", "datafusion_physical_expr", "sqlparser::", "include!"],
    },
    Rule {
        meaning: "nothing is left to be written, and nothing prints from the library",
        within: &["src/"],
        except: &["src/bin/"],
        names: &["todo!", "unimplemented!", "dbg!", "println!", "eprintln!"],
    },
    Rule {
        meaning: "no SQL and no data may reach a panic",
        within: &["src/"],
        except: &[],
        names: &[".unwrap()", "panic!(", "todo!", "unimplemented!", "dbg!"],
    },
];

/// The longest a file may be, tests included.
const FILE_LINES_MAX: usize = 800;
/// The longest a function may be.
const FUNCTION_LINES_MAX: usize = 70;
/// What may stand at the top of the repository.
const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".clippy.toml",
    ".git",
    ".github",
    ".gitignore",
    ".rustfmt.toml",
    "AGENTS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "benches",
    "docs",
    "examples",
    "grammar-tests",
    "proptest-regressions",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "src",
    "target",
];

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// Whether `line` names `name`, and not something longer.
fn names(line: &str, name: &str) -> bool {
    let part_of_word = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(name).any(|(at, _)| {
        let starts_word = name.starts_with(char::is_alphanumeric);
        let ends_word = name.ends_with(char::is_alphanumeric);
        let before = part_of_word(line[..at].chars().next_back());
        let after = part_of_word(line[at + name.len()..].chars().next());
        !(starts_word && before || ends_word && after)
    })
}

#[test]
fn rooms_name_only_what_they_may() {
    let files = files();
    let mut broken = Vec::new();
    for rule in RULES {
        for file in files.iter().filter(|file| file.is_in(rule.within) && !file.is_in(rule.except)) {
            for (number, line) in &file.code {
                for name in rule.names.iter().filter(|name| names(line, name)) {
                    broken.push(format!("{}:{number}: names `{name}`, but {}", file.path, rule.meaning));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn files_are_short() {
    let long = files().into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines, of at most {FILE_LINES_MAX}", file.path))
    });
    report(&long.collect::<Vec<_>>());
}

#[test]
fn functions_are_short() {
    let broken: Vec<String> = files().iter().flat_map(long_functions).collect();
    report(&broken);
}

fn long_functions(file: &File) -> Vec<String> {
    let mut long = Vec::new();
    let mut open: Vec<(usize, i64, String)> = Vec::new();
    let (mut depth, mut waiting) = (0_i64, None);
    for (number, line) in &file.code {
        if let Some(name) = function_name(line) {
            waiting = Some((*number, name));
        }
        let opens = line.contains('{');
        if let (true, Some((start, name))) = (opens, waiting.clone()) {
            open.push((start, depth, name));
            waiting = None;
        } else if waiting.is_some() && line.trim_end().ends_with(';') {
            waiting = None;
        }
        depth += braces(line);
        while let Some((start, _, name)) = open.pop_if(|(_, outer, _)| depth <= *outer) {
            let lines = number - start + 1;
            if lines > FUNCTION_LINES_MAX {
                long.push(format!(
                    "{}:{start}: `{name}` has {lines} lines, of at most {FUNCTION_LINES_MAX}",
                    file.path
                ));
            }
        }
    }
    long
}

fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let declares = before.split_whitespace().all(|word| {
        word.starts_with("pub")
            || ["const", "unsafe", "extern", "async", "default"].contains(&word)
            || word.ends_with(')')
    });
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (declares && !name.is_empty()).then_some(name)
}

#[test]
fn the_top_of_the_repository_holds_only_what_the_map_names() {
    let entries = std::fs::read_dir(root()).unwrap_or_else(|error| panic!("{error}"));
    let strangers = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .map(|name| format!("{name}: not a place that the map names"));
    report(&strangers.collect::<Vec<_>>());
}

#[test]
fn comments_and_quotes_are_not_code() {
    let text = "let a = \"todo!\"; // dbg!\nlet b = r#\"panic!\"#; let c: &'static str = 'x'.into();\n";
    let code = blanked(text);
    assert!(!code.contains("todo!") && !code.contains("dbg!") && !code.contains("panic!") && !code.contains("'x'"));
    assert!(code.contains("&'static str"));
    assert_eq!(code.lines().count(), 2);
}
