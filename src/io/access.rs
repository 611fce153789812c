//! The one gate to files and to the process's input and output.
//!
//! SQL may come from strangers, so a path is never opened as it was written. It is resolved first, with every link
//! and every `..`, and what it resolves to must lie in a directory that the host has granted. Nothing else in the
//! crate opens, creates or lists a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Code, OutsideError, Result, did_you_mean};

/// Which files may be read and written, and whether the process's input and output may be used.
///
/// Cheap to clone. It is set by the host and can't be changed from SQL.
#[derive(Debug, Clone)]
pub struct Access(Arc<Grants>);

#[derive(Debug, Clone)]
struct Grants {
    base: PathBuf,
    files: Files,
    stdio: bool,
}

#[derive(Debug, Clone)]
enum Files {
    All,
    Directories(Vec<Grant>),
}

#[derive(Debug, Clone)]
struct Grant {
    directory: PathBuf,
    right: Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Read,
    Write,
}

impl Right {
    fn verb(self) -> &'static str {
        match self {
            Right::Read => "reading",
            Right::Write => "writing",
        }
    }
}

impl Access {
    /// Nothing may be read or written.
    pub fn none() -> Access {
        Access::new(Files::Directories(Vec::new()), false)
    }

    /// Everything the process itself may read and write, devices, pipes, input and output included.
    pub fn all() -> Access {
        Access::new(Files::All, true)
    }

    /// The regular files in these directories and below may be read and written. Fails if one does not exist.
    pub fn directories<P: AsRef<Path>>(directories: impl IntoIterator<Item = P>) -> Result<Access> {
        directories.into_iter().try_fold(Access::none(), |access, directory| {
            access.allow_read(directory.as_ref())?.allow_write(directory.as_ref())
        })
    }

    fn new(files: Files, stdio: bool) -> Access {
        // A process whose directory is gone can still use absolute paths; relative ones then fail when they are opened.
        let base = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Access(Arc::new(Grants { base, files, stdio }))
    }

    /// Grants reading in `directory` and below. Fails if it does not exist.
    pub fn allow_read(self, directory: impl AsRef<Path>) -> Result<Access> {
        self.grant(directory.as_ref(), Right::Read)
    }

    /// Grants writing in `directory` and below. Fails if it does not exist.
    pub fn allow_write(self, directory: impl AsRef<Path>) -> Result<Access> {
        self.grant(directory.as_ref(), Right::Write)
    }

    /// Grants or takes away the process's input and output.
    #[must_use]
    pub fn allow_stdio(mut self, allowed: bool) -> Access {
        Arc::make_mut(&mut self.0).stdio = allowed;
        self
    }

    /// Resolves relative paths against `directory` instead of the process's current one. Fails if it does not exist.
    pub fn with_base(mut self, directory: impl AsRef<Path>) -> Result<Access> {
        Arc::make_mut(&mut self.0).base = existing(directory.as_ref())?;
        Ok(self)
    }

    fn grant(mut self, directory: &Path, right: Right) -> Result<Access> {
        let directory = existing(&self.0.base.join(directory))?;
        match &mut Arc::make_mut(&mut self.0).files {
            Files::All => {}
            Files::Directories(grants) => grants.push(Grant { directory, right }),
        }
        Ok(self)
    }

    /// Opens a file for reading.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        let absolute = self.absolute(path, Right::Read)?;
        if self.is_all() {
            refuse_directory(path, &absolute)?;
            return File::open(&absolute).map_err(|error| self.not_opened(path, &absolute, &error));
        }
        let resolved = self.resolve(path, &absolute, Right::Read)?;
        refuse_directory(path, &resolved)?;
        self.refuse_special(path, &resolved)?;
        let file = File::open(&resolved).map_err(|error| OutsideError::io(path.display(), &error))?;
        // Between the check and the opening somebody may have put a link in the path. What was opened is looked at
        // again, and is only handed out if it still is what was checked.
        if fs::canonicalize(&resolved).is_ok_and(|now| now == resolved) && same_file(&file, &resolved) {
            Ok(file)
        } else {
            Err(self.denied(path, Right::Read))
        }
    }

    /// How long a file is that may be read; nothing of what is no file, which is not touched.
    pub fn size(&self, path: impl AsRef<Path>) -> Option<u64> {
        let path = path.as_ref();
        let absolute = self.absolute(path, Right::Read).ok()?;
        let resolved = if self.is_all() { absolute } else { self.resolve(path, &absolute, Right::Read).ok()? };
        fs::metadata(resolved).ok().filter(fs::Metadata::is_file).map(|known| known.len())
    }

    /// Begins a new file, or the replacement of one. It takes its place only when it is committed.
    pub fn create(&self, path: impl AsRef<Path>) -> Result<NewFile> {
        let path = path.as_ref();
        let absolute = self.absolute(path, Right::Write)?;
        let target = self.resolve_target(path, &absolute)?;
        refuse_directory(path, &target)?;
        match fs::metadata(&target) {
            Ok(there) if !there.is_file() => {
                self.refuse_special(path, &target)?;
                NewFile::special(path, target)
            }
            Ok(_) | Err(_) => NewFile::beside(path, target),
        }
    }

    /// The files that match a pattern, sorted. A path without `*`, `?` and `[` matches itself. No match is an error.
    pub fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>> {
        let absolute = self.absolute(Path::new(pattern), Right::Read)?;
        if !is_pattern(pattern) || absolute.exists() && self.resolve(Path::new(pattern), &absolute, Right::Read).is_ok()
        {
            self.must_exist(Path::new(pattern), &absolute)?;
            return Ok(vec![PathBuf::from(pattern)]);
        }
        let (fixed, rest) = split_pattern(&absolute);
        if rest.components().any(|part| part == Component::ParentDir) {
            let refused = format!("\"{pattern}\" has \"..\" after a wildcard");
            return Err(OutsideError::new(Code::AccessDenied, refused).hint("Write the directory out.").into());
        }
        let fixed = if self.is_all() { fixed } else { self.resolve(Path::new(pattern), &fixed, Right::Read)? };
        let mut found = self.matches(pattern, &fixed, &rest)?;
        found.sort();
        if found.is_empty() {
            return Err(OutsideError::new(Code::Io, format!("no file matches \"{pattern}\"")).into());
        }
        Ok(found)
    }

    /// The process's input.
    pub fn stdin(&self) -> Result<io::Stdin> {
        if self.0.stdio { Ok(io::stdin()) } else { Err(stdio_denied("input")) }
    }

    /// The process's output.
    pub fn stdout(&self) -> Result<io::Stdout> {
        if self.0.stdio { Ok(io::stdout()) } else { Err(stdio_denied("output")) }
    }

    fn is_all(&self) -> bool {
        match self.0.files {
            Files::All => true,
            Files::Directories(_) => false,
        }
    }

    fn is_allowed(&self, resolved: &Path, right: Right) -> bool {
        match &self.0.files {
            Files::All => true,
            Files::Directories(grants) => {
                grants.iter().any(|grant| grant.right == right && resolved.starts_with(&grant.directory))
            }
        }
    }

    /// The path from the root, not yet resolved. Refuses what can't be a path, before the file system is asked.
    fn absolute(&self, path: &Path, right: Right) -> Result<PathBuf> {
        let text = path.to_string_lossy();
        let refuse = |why: &str, hint: &str| {
            Err(OutsideError::new(Code::AccessDenied, format!("\"{}\" {why}", text.escape_debug())).hint(hint).into())
        };
        if text.is_empty() {
            return refuse("is not a path", "Give the path of a file.");
        }
        if text.contains('\0') {
            return refuse("holds a NUL character", "Give the path of a file.");
        }
        if text.contains("://") {
            return refuse("is a URL, and only local files can be opened", "Give the path of a local file.");
        }
        if let Files::Directories(grants) = &self.0.files
            && !grants.iter().any(|grant| grant.right == right)
        {
            return Err(self.denied(path, right));
        }
        Ok(self.0.base.join(path))
    }

    /// Follows every link and `..`, and checks what is there against the grants.
    fn resolve(&self, path: &Path, absolute: &Path, right: Right) -> Result<PathBuf> {
        match fs::canonicalize(absolute) {
            Ok(resolved) if self.is_allowed(&resolved, right) => Ok(resolved),
            Ok(_) => Err(self.denied(path, right)),
            Err(error) => {
                // Whether a file exists is only told about directories that may be read.
                let nearest = absolute.ancestors().skip(1).find_map(|ancestor| fs::canonicalize(ancestor).ok());
                let known = nearest.is_some_and(|ancestor| self.is_allowed(&ancestor, right));
                Err(if known { self.not_opened(path, absolute, &error) } else { self.denied(path, right) })
            }
        }
    }

    /// Where a new file goes: its directory is resolved and checked, and so is what stands there already.
    fn resolve_target(&self, path: &Path, absolute: &Path) -> Result<PathBuf> {
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(OutsideError::new(Code::Io, format!("\"{}\" is not the path of a file", path.display())).into());
        };
        let parent = self.resolve(path, parent, Right::Write)?;
        let target = parent.join(name);
        if fs::symlink_metadata(&target).is_ok() { self.resolve(path, &target, Right::Write) } else { Ok(target) }
    }

    fn must_exist(&self, path: &Path, absolute: &Path) -> Result<()> {
        if self.is_all() {
            return fs::metadata(absolute).map(|_| ()).map_err(|error| self.not_opened(path, absolute, &error));
        }
        self.resolve(path, absolute, Right::Read).map(|_| ())
    }

    /// A device or a pipe could block for ever, or do something when it is touched.
    fn refuse_special(&self, path: &Path, resolved: &Path) -> Result<()> {
        if self.is_all() || fs::metadata(resolved).is_ok_and(|there| there.is_file()) {
            return Ok(());
        }
        let message = format!("\"{}\" is not a regular file", path.display());
        Err(OutsideError::new(Code::AccessDenied, message)
            .hint("Devices and pipes can only be opened by a host that grants everything.")
            .into())
    }

    fn matches(&self, pattern: &str, fixed: &Path, rest: &Path) -> Result<Vec<PathBuf>> {
        let full = format!("{}/{}", glob::Pattern::escape(&fixed.to_string_lossy()), rest.to_string_lossy());
        let wrong = |error: &dyn std::fmt::Display| {
            OutsideError::new(Code::InvalidArgument, format!("\"{pattern}\" is not a pattern: {error}"))
        };
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let mut found = Vec::new();
        for entry in glob::glob_with(&full, options).map_err(|error| wrong(&error))? {
            let entry = entry.map_err(|error| OutsideError::io(error.path().display(), error.error()))?;
            if !entry.is_file() {
                continue;
            }
            if !self.is_all() {
                self.resolve(&entry, &entry, Right::Read)?;
            }
            found.push(entry);
        }
        Ok(found)
    }

    fn denied(&self, path: &Path, right: Right) -> crate::Error {
        let granted: Vec<String> = match &self.0.files {
            Files::All => Vec::new(),
            Files::Directories(grants) => {
                let granted = grants.iter().filter(|grant| grant.right == right);
                granted.map(|grant| format!("\"{}\"", grant.directory.display())).collect()
            }
        };
        let hint = if granted.is_empty() {
            format!("The host has not granted {} files.", right.verb())
        } else {
            format!("The host has granted {} in {}.", right.verb(), granted.join(", "))
        };
        let message = format!("access to \"{}\" was refused", path.display());
        OutsideError::new(Code::AccessDenied, message).hint(hint).into()
    }

    /// A file that can't be opened, with the nearest name in its directory where that may be listed.
    fn not_opened(&self, path: &Path, absolute: &Path, error: &io::Error) -> crate::Error {
        let failed = OutsideError::io(format_args!("\"{}\"", path.display()), error);
        if error.kind() != io::ErrorKind::NotFound {
            return failed.into();
        }
        let missing = OutsideError::new(Code::Io, format!("there is no file \"{}\"", path.display()));
        match self.similar_name(absolute) {
            Some(hint) => missing.hint(hint).into(),
            None => missing.into(),
        }
    }

    fn similar_name(&self, absolute: &Path) -> Option<String> {
        let directory = fs::canonicalize(absolute.parent()?).ok()?;
        if !self.is_allowed(&directory, Right::Read) {
            return None;
        }
        let entries = fs::read_dir(directory).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let names: Vec<String> = entries.collect();
        did_you_mean(absolute.file_name()?.to_str()?, names.iter().map(String::as_str))
    }
}

/// A file that is being written, under another name beside its target until it is committed.
///
/// Dropped without a commit it is removed, so a failed run leaves the target as it was.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// The name it has now and the one it will have; none for a device, which is written as it goes.
    names: Option<(PathBuf, PathBuf)>,
    shown: String,
}

impl NewFile {
    fn beside(path: &Path, target: PathBuf) -> Result<NewFile> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown = path.display().to_string();
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let temporary = target.with_file_name(format!(".{name}.{}-{number}.tmp", std::process::id()));
            // `create_new` never follows a link and never opens what another writer has begun.
            match OpenOptions::new().read(true).write(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok(NewFile { file, names: Some((temporary, target)), shown }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(OutsideError::io(shown, &error).into()),
            }
        }
    }

    fn special(path: &Path, target: PathBuf) -> Result<NewFile> {
        let shown = path.display().to_string();
        let opened = OpenOptions::new().write(true).open(target);
        let file = opened.map_err(|error| OutsideError::io(&shown, &error))?;
        Ok(NewFile { file, names: None, shown })
    }

    /// The file itself, to read what has been written, also once it has its name; none for a device.
    pub fn read_back(&self) -> Result<Option<File>> {
        let reopened = self.names.is_some().then(|| self.file.try_clone()).transpose();
        Ok(reopened.map_err(|error| OutsideError::io(&self.shown, &error))?)
    }

    /// How many bytes have been written.
    pub fn position(&mut self) -> Result<u64> {
        if self.names.is_none() {
            return Ok(0);
        }
        Ok(self.file.stream_position().map_err(|error| OutsideError::io(&self.shown, &error))?)
    }

    /// Writes it through to the disk and gives it its name, in place of what had that name.
    pub fn commit(mut self) -> Result<()> {
        let Some((temporary, target)) = self.names.take() else { return Ok(()) };
        let named = self.file.sync_all().and_then(|()| fs::rename(&temporary, target));
        named.map_err(|error| {
            self.names = Some((temporary, PathBuf::new()));
            OutsideError::io(&self.shown, &error).into()
        })
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.names {
            // Nothing more can be done about a temporary file that can't be removed.
            let _ = fs::remove_file(temporary);
        }
    }
}

fn existing(directory: &Path) -> Result<PathBuf> {
    Ok(fs::canonicalize(directory).map_err(|error| OutsideError::io(directory.display(), &error))?)
}

fn refuse_directory(path: &Path, resolved: &Path) -> Result<()> {
    if !resolved.is_dir() {
        return Ok(());
    }
    let message = format!("\"{}\" is a directory", path.display());
    let hint = format!("Name a file, or write a pattern such as '{}'.", path.join("*.csv").display());
    Err(OutsideError::new(Code::Io, message).hint(hint).into())
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(opened), Ok(there)) => opened.is_file() && (opened.dev(), opened.ino()) == (there.dev(), there.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(not(unix))]
fn same_file(file: &File, _: &Path) -> bool {
    file.metadata().is_ok_and(|opened| opened.is_file())
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The components before the first wildcard, and the others.
fn split_pattern(absolute: &Path) -> (PathBuf, PathBuf) {
    let is_fixed = |part: &Component| !is_pattern(&part.as_os_str().to_string_lossy());
    let fixed: PathBuf = absolute.components().take_while(is_fixed).collect();
    let rest = absolute.components().skip_while(is_fixed).collect();
    (fixed, rest)
}

fn stdio_denied(what: &str) -> crate::Error {
    OutsideError::new(Code::AccessDenied, format!("access to the process's {what} was refused"))
        .hint("The host has not granted the standard input and output.")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> (tempfile::TempDir, Access) {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir(room.path().join("in")).unwrap();
        fs::write(room.path().join("in/flights.csv"), "a\n1\n").unwrap();
        fs::write(room.path().join("secret.csv"), "a\n1\n").unwrap();
        let inside = room.path().join("in");
        let access = Access::directories([&inside]).unwrap().with_base(&inside).unwrap();
        (room, access)
    }

    fn code<T>(result: Result<T>) -> Code {
        result.map(|_| ()).unwrap_err().code()
    }

    #[test]
    fn a_file_in_a_granted_directory_is_opened() {
        let (room, access) = room();
        access.open("flights.csv").unwrap();
        access.open("./../in/flights.csv").unwrap();
        access.open(room.path().join("in/flights.csv")).unwrap();
    }

    #[test]
    fn nothing_outside_is_opened_or_told_of() {
        let (room, access) = room();
        let secret = room.path().join("secret.csv").display().to_string();
        let missing = room.path().join("missing.csv").display().to_string();
        let paths =
            ["../secret.csv", "../missing.csv", "x/../../secret.csv", &secret, &missing, "/etc/passwd", "/dev/null"];
        for path in paths {
            assert!(matches!(code(access.open(path)), Code::AccessDenied | Code::Io), "{path}");
            if path != "x/../../secret.csv" {
                assert_eq!(code(access.open(path)), Code::AccessDenied, "{path}");
            }
            assert!(access.create(path).is_err(), "{path}");
            assert!(access.glob(path).is_err(), "{path}");
        }
        for path in ["a\0b", "file:///etc/passwd", "http://x/y.csv", ""] {
            assert_eq!(code(access.open(path)), Code::AccessDenied, "{path}");
        }
        for pattern in ["../*.csv", "/etc/*", "*/../../*.csv"] {
            assert_eq!(code(access.glob(pattern)), Code::AccessDenied, "{pattern}");
        }
    }

    #[test]
    fn none_refuses_everything_without_asking_the_file_system() {
        for path in ["/etc/passwd", "/nowhere", "x"] {
            assert_eq!(code(Access::none().open(path)), Code::AccessDenied);
            assert_eq!(code(Access::none().create(path)), Code::AccessDenied);
        }
        assert_eq!(code(Access::none().stdin()), Code::AccessDenied);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_judged_by_where_it_leads() {
        use std::os::unix::fs::symlink;
        let (room, access) = room();
        let inside = room.path().join("in");
        symlink(room.path().join("secret.csv"), inside.join("out.csv")).unwrap();
        symlink(room.path(), inside.join("up")).unwrap();
        symlink(inside.join("flights.csv"), inside.join("same.csv")).unwrap();
        symlink(room.path().join("new.csv"), inside.join("dangling.csv")).unwrap();
        for path in ["out.csv", "up/secret.csv"] {
            assert_eq!(code(access.open(path)), Code::AccessDenied, "{path}");
            assert_eq!(code(access.create(path)), Code::AccessDenied, "{path}");
        }
        assert!(access.create("dangling.csv").is_err());
        assert_eq!(code(access.glob("u*/*.csv")), Code::AccessDenied);
        access.open("same.csv").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_or_socket_is_not_opened() {
        let (room, access) = room();
        let _socket = std::os::unix::net::UnixListener::bind(room.path().join("in/s.csv")).unwrap();
        assert_eq!(code(access.open("s.csv")), Code::AccessDenied);
        assert_eq!(code(access.create("s.csv")), Code::AccessDenied);
        let pipe = room.path().join("in/p.csv");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(code(access.open("p.csv")), Code::AccessDenied);
        assert_eq!(code(access.create("p.csv")), Code::AccessDenied);
    }

    #[test]
    fn reading_and_writing_are_granted_apart() {
        let (room, _) = room();
        let access = Access::none().allow_read(room.path()).unwrap().with_base(room.path()).unwrap();
        access.open("secret.csv").unwrap();
        assert_eq!(code(access.create("secret.csv")), Code::AccessDenied);
    }

    #[test]
    fn a_misspelt_file_gets_a_hint() {
        let (_room, access) = room();
        let error = access.open("flihgts.csv").unwrap_err();
        assert_eq!((error.code(), error.hint().unwrap().as_str()), (Code::Io, "Did you mean \"flights.csv\"?"));
    }

    #[test]
    fn a_glob_is_sorted_and_must_match() {
        let (room, access) = room();
        fs::write(room.path().join("in/b.csv"), "").unwrap();
        fs::write(room.path().join("in/a.csv"), "").unwrap();
        let names: Vec<_> = access.glob("?.csv").unwrap();
        let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.csv", "b.csv"]);
        assert_eq!(code(access.glob("*.json")), Code::Io);
        assert_eq!(code(access.glob("[.csv")), Code::InvalidArgument);
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_the_old_one() {
        let (room, access) = room();
        let mut file = access.create("flights.csv").unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(room.path().join("in/flights.csv")).unwrap(), "a\n1\n");
        let mut file = access.create("flights.csv").unwrap();
        file.write_all(b"whole").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(room.path().join("in/flights.csv")).unwrap(), "whole");
        assert_eq!(fs::read_dir(room.path().join("in")).unwrap().count(), 1);
    }
}
