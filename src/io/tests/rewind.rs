//! Sinks that take back what was written.

use super::*;

const FILES: [&str; 8] =
    ["a.csv", "a.csv.gz", "a.csv.zst", "a.jsonl", "a.jsonl.gz", "a.parquet", "a.arrow", "a.arrow.zst"];

fn numbered(from: i64, to: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((from..to).map(|n| format!("row {n}"))));
    RecordBatch::try_from_iter_with_nullable(vec![("a", numbers, true), ("b", texts, true)]).unwrap()
}

/// Runs `steps` on a new sink for a file of each format; gives what is in each afterwards.
fn written(steps: impl Fn(&mut dyn Sink)) -> Vec<String> {
    let one = |path: &str| {
        let room = Room::new();
        let mut sink = open_sink(&options(&[("path", path)]), a_b(), &room.access).unwrap();
        steps(sink.as_mut());
        drop(sink);
        assert_eq!(fs::read_dir(room.directory.path()).unwrap().count(), 1, "no other file is left");
        shown(&room.read(&[("path", path)], Some(&a_b())).unwrap())
    };
    FILES.into_iter().map(one).collect()
}

fn all_hold(rows: &RecordBatch, steps: impl Fn(&mut dyn Sink)) {
    assert_eq!(written(steps), vec![shown(rows); FILES.len()]);
}

#[test]
fn what_was_written_since_the_mark_is_taken_back() {
    all_hold(&numbered(0, 5), |sink| {
        sink.write(&numbered(0, 2)).unwrap();
        let position = sink.mark().unwrap();
        for _ in 0..2 {
            sink.write(&numbered(70, 90)).unwrap();
            sink.flush().unwrap();
            sink.rewind(position).unwrap();
        }
        sink.write(&numbered(2, 5)).unwrap();
        sink.finish().unwrap();
    });
}

#[test]
fn a_mark_is_as_good_as_the_one_before_it() {
    all_hold(&numbered(0, 6), |sink| {
        let first = sink.mark().unwrap();
        assert_eq!(first.rows, 0);
        sink.write(&numbered(80, 82)).unwrap();
        sink.rewind(first).unwrap();
        for n in 0..6 {
            sink.write(&numbered(n, n + 1)).unwrap();
            let position = sink.mark().unwrap();
            assert_eq!(sink.mark().unwrap(), position);
            sink.write(&numbered(90, 93)).unwrap();
            sink.rewind(position).unwrap();
        }
        sink.finish().unwrap();
    });
}

#[test]
fn a_finished_file_is_taken_back_too_and_replaced_when_it_is_finished_again() {
    all_hold(&numbered(0, 4), |sink| {
        sink.write(&numbered(0, 3)).unwrap();
        let position = sink.mark().unwrap();
        sink.write(&numbered(50, 60)).unwrap();
        sink.finish().unwrap();
        sink.rewind(position).unwrap();
        sink.write(&numbered(3, 4)).unwrap();
        sink.finish().unwrap();
    });
}

/// The file that was written is gone back to, not what somebody else has put under its name since.
#[test]
fn a_file_that_was_replaced_from_outside_does_not_matter() {
    let room = Room::new();
    let mut sink = open_sink(&options(&[("path", "a.csv")]), a_b(), &room.access).unwrap();
    sink.write(&numbered(0, 2)).unwrap();
    let position = sink.mark().unwrap();
    sink.finish().unwrap();
    fs::remove_file(room.directory.path().join("a.csv")).unwrap();
    room.put("a.csv", "something else\n");
    sink.rewind(position).unwrap();
    assert_eq!(room.text("a.csv"), "something else\n");
    sink.finish().unwrap();
    assert_eq!(room.text("a.csv"), "a,b\n0,row 0\n1,row 1\n");
}

#[test]
fn columns_of_the_same_name_keep_their_own_values() {
    let fields = vec![Field::new("k", DataType::Int64, true), Field::new("k", DataType::Utf8, true)];
    let twice = Arc::new(Schema::new(fields));
    for path in ["a.parquet", "a.arrow"] {
        let room = Room::new();
        let rows = RecordBatch::try_new(twice.clone(), numbered(0, 3).columns().to_vec()).unwrap();
        let mut sink = open_sink(&options(&[("path", path)]), twice.clone(), &room.access).unwrap();
        sink.write(&rows).unwrap();
        let position = sink.mark().unwrap();
        sink.rewind(position).unwrap();
        sink.finish().unwrap();
        assert_eq!(room.read(&[("path", path)], Some(&twice)).unwrap(), rows);
    }
}

/// Text that reads otherwise than it is written, and every type, come through unchanged.
#[test]
fn rows_of_every_type_are_the_same_after_it() {
    for path in ["a.csv", "a.jsonl", "a.parquet", "a.arrow"] {
        let room = Room::new();
        room.write(&[("path", path)], &flat_batch());
        let straight = fs::read(room.directory.path().join(path)).unwrap();
        let mut sink = open_sink(&options(&[("path", path)]), flat_batch().schema(), &room.access).unwrap();
        sink.write(&flat_batch().slice(0, 2)).unwrap();
        let position = sink.mark().unwrap();
        sink.write(&flat_batch()).unwrap();
        sink.rewind(position).unwrap();
        sink.write(&flat_batch().slice(2, 1)).unwrap();
        sink.finish().unwrap();
        if path.ends_with("csv") || path.ends_with("jsonl") {
            assert_eq!(fs::read(room.directory.path().join(path)).unwrap(), straight);
        }
        let read = room.read(&[("path", path)], Some(&flat_batch().schema())).unwrap();
        assert_eq!(shown(&read), shown(&flat_batch()), "{path}");
    }
}
