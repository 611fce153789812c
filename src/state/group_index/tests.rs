use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::*;

use super::*;

fn intern(index: &mut GroupIndex, keys: &[ArrayRef]) -> Vec<u32> {
    let mut groups = vec![];
    index.intern(keys, keys[0].len(), &mut groups).unwrap();
    groups
}

fn index(keys: &[ArrayRef]) -> GroupIndex {
    GroupIndex::new(&keys.iter().map(|key| key.data_type().clone()).collect::<Vec<_>>()).unwrap()
}

/// Interns `keys` twice; the keys of the groups in order must be `distinct`.
fn check(keys: &[ArrayRef], groups: &[u32], distinct: &[ArrayRef]) {
    let mut index = index(keys);
    assert_eq!(intern(&mut index, keys), groups);
    assert_eq!(intern(&mut index, keys), groups);
    assert_eq!(index.keys(&index.groups_in_order()).unwrap(), distinct);
    assert_eq!(index.len(), distinct[0].len());
}

#[test]
fn every_specialisation_numbers_in_order_of_appearance_and_keeps_null() {
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(7), Some(-1), None]));
    check(std::slice::from_ref(&ints), &[0, 1, 0, 2, 1], &[Arc::new(Int64Array::from(vec![Some(7), None, Some(-1)]))]);
    let small: ArrayRef = Arc::new(Int8Array::from(vec![0, 0, -1, -1, 5]));
    check(std::slice::from_ref(&small), &[0, 0, 1, 1, 2], &[Arc::new(Int8Array::from(vec![0, -1, 5]))]);
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some(""), None, Some("a"), Some("")]));
    check(
        std::slice::from_ref(&text),
        &[0, 1, 2, 0, 1],
        &[Arc::new(StringArray::from(vec![Some("a"), Some(""), None]))],
    );
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None]));
    check(
        std::slice::from_ref(&flags),
        &[0, 1, 2, 0, 1],
        &[Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))],
    );
    let money: ArrayRef = Arc::new(Decimal128Array::from(vec![Some(7), None, Some(7), Some(-1), None]));
    check(
        std::slice::from_ref(&money),
        &[0, 1, 0, 2, 1],
        &[Arc::new(Decimal128Array::from(vec![Some(7), None, Some(-1)]))],
    );
    let pair = [ints.clone(), flags.clone()];
    let distinct: [ArrayRef; 2] = [
        Arc::new(Int64Array::from(vec![Some(7), None, Some(7), Some(-1)])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
    ];
    check(&pair, &[0, 1, 2, 3, 1], &distinct);
    let mixed = [ints.clone(), text.clone()];
    let distinct: [ArrayRef; 2] = [
        Arc::new(Int64Array::from(vec![Some(7), None, Some(7), Some(-1)])),
        Arc::new(StringArray::from(vec![Some("a"), Some(""), None, Some("a")])),
    ];
    check(&mixed, &[0, 1, 2, 3, 1], &distinct);
    for other in [DataType::LargeUtf8, DataType::Utf8View, DataType::Binary, DataType::BinaryView] {
        let keys = [cast(&text, &other).unwrap()];
        check(&keys, &[0, 1, 2, 0, 1], &[cast(&StringArray::from(vec![Some("a"), Some(""), None]), &other).unwrap()]);
    }
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let keys = [cast(&text, &dictionary).unwrap()];
    let mut index = index(&keys);
    assert_eq!(intern(&mut index, &keys), [0, 1, 2, 0, 1]);
    assert_eq!(index.keys(&[1, 0]).unwrap()[0].data_type(), &dictionary);
}

#[test]
fn entries_of_a_dictionary_are_looked_up_once_and_again_when_groups_are_gone() {
    let entries = StringArray::from(vec![Some("a"), Some("b"), None, Some("a")]);
    let numbered = |numbers: Vec<Option<i32>>, entries: &StringArray| -> ArrayRef {
        Arc::new(DictionaryArray::new(Int32Array::from(numbers), Arc::new(entries.clone())))
    };
    let mut index = GroupIndex::new(&[DataType::Utf8]).unwrap();
    let first = numbered(vec![Some(1), None, Some(0)], &entries);
    assert_eq!(intern(&mut index, &[first]), [0, 1, 2]);
    let second = numbered(vec![Some(3), Some(2), Some(1), Some(0)], &entries);
    assert_eq!(intern(&mut index, std::slice::from_ref(&second)), [2, 1, 0, 2]);
    let plain: ArrayRef = Arc::new(StringArray::from(vec!["c", "b"]));
    assert_eq!(intern(&mut index, &[plain]), [3, 0]);
    index.remove(&[0, 2]);
    assert_eq!(intern(&mut index, &[second]), [2, 1, 0, 2], "numbers are given again, the last that was freed first");
    let others = numbered(vec![Some(0), Some(1)], &StringArray::from(vec!["b", "d"]));
    assert_eq!(intern(&mut index, &[others]), [0, 4]);
    let keys = index.keys(&[0, 1, 2, 3, 4]).unwrap();
    assert_eq!(
        keys[0].as_ref(),
        &StringArray::from(vec![Some("b"), None, Some("a"), Some("c"), Some("d")]) as &dyn Array
    );
    index.clear();
    let again = numbered(vec![Some(1)], &StringArray::from(vec!["b", "d"]));
    assert_eq!(intern(&mut index, &[again]), [0]);
}

#[test]
fn no_key_is_one_group() {
    let mut index = GroupIndex::new(&[]).unwrap();
    let mut groups = vec![9];
    index.intern(&[], 0, &mut groups).unwrap();
    assert_eq!((groups.len(), index.len()), (0, 0));
    index.intern(&[], 3, &mut groups).unwrap();
    assert_eq!((groups.as_slice(), index.len()), ([0, 0, 0].as_slice(), 1));
    index.remove(&[0]);
    assert!(index.is_empty());
    index.intern(&[], 1, &mut groups).unwrap();
    assert_eq!(groups, [0]);
}

#[test]
fn zeros_are_one_key_and_so_are_nans() {
    let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, other_nan, -f64::NAN]));
    assert_eq!(intern(&mut index(std::slice::from_ref(&floats)), std::slice::from_ref(&floats)), [0, 0, 1, 1, 1]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"; 5]));
    let keys = [floats, text];
    assert_eq!(intern(&mut index(&keys), &keys), [0, 0, 1, 1, 1]);
}

#[test]
fn a_removed_key_that_is_seen_again_is_new_and_last() {
    let texts = |texts: &[Option<&str>]| -> Vec<ArrayRef> { vec![Arc::new(StringArray::from(texts.to_vec()))] };
    let numbers = |numbers: &[Option<i64>]| -> Vec<ArrayRef> { vec![Arc::new(Int64Array::from(numbers.to_vec()))] };
    for [all, one] in [
        [texts(&[Some("a"), None, Some("b")]), texts(&[None])],
        [texts(&[Some("a"), Some("x"), Some("b")]), texts(&[Some("x")])],
        [numbers(&[Some(1), None, Some(2)]), numbers(&[None])],
        [numbers(&[Some(1), Some(0), Some(2)]), numbers(&[Some(0)])],
    ] {
        let mut index = index(&all);
        intern(&mut index, &all);
        index.remove(&[1, 1]);
        assert_eq!((index.len(), index.groups_in_order()), (2, vec![0, 2]));
        assert_eq!(intern(&mut index, &one), [1]);
        assert_eq!(index.groups_in_order(), [0, 2, 1]);
        assert_eq!(index.keys(&[1]).unwrap(), one);
        assert_eq!(index.slots(), 3);
    }
}

#[test]
fn the_order_can_be_saved_and_given_back() {
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2, 3]))];
    let mut index = index(&keys);
    intern(&mut index, &keys);
    index.set_sequence(&[0, 1, 2], &[30, 10, 20]);
    assert_eq!(index.groups_in_order(), [1, 2, 0]);
    index.move_to_end(1);
    assert_eq!(index.groups_in_order(), [2, 0, 1]);
    assert_eq!(index.sequence(&[0]), [30]);
}

#[test]
fn dead_bytes_are_given_back() {
    let texts = |round: i64| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..100).map(|key| format!("{round} and {key}"))))
    };
    let numbers = |round: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..100).map(|key| round - key))) };
    let kinds: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|key| ["a", "much longer"][key % 2])));
    let one_column = |round| vec![texts(round)];
    let two_columns = |round| vec![numbers(round), kinds.clone()];
    for columns in [&one_column as &dyn Fn(i64) -> Vec<ArrayRef>, &two_columns] {
        let mut index = index(&columns(0));
        let lasting = columns(-1_000);
        let groups = intern(&mut index, &lasting);
        for round in 0..200 {
            let keys = columns(round * 1_000);
            let groups = intern(&mut index, &keys);
            assert_eq!(index.keys(&groups).unwrap(), keys);
            index.remove(&groups);
        }
        assert_eq!(intern(&mut index, &lasting), groups);
        assert_eq!(index.keys(&groups).unwrap(), lasting);
        assert!(index.bytes() < 60_000, "{}", index.bytes());
    }
}

/// Two columns of which at least one is text, sliced out of something longer, against what a map says.
#[test]
fn two_columns_are_one_key_however_long_their_texts_are() {
    let texts: Vec<Option<String>> =
        (0..12).map(|length| "\u{1}lazy doggy".get(..length).map(str::to_string)).chain([None]).collect();
    let text = |nth: usize| texts[nth % texts.len()].clone();
    let rows = 5_000;
    let left: ArrayRef = Arc::new((0..rows).map(|row| text(row * 7 / 3)).collect::<StringArray>());
    let right: ArrayRef = Arc::new((0..rows).map(|row| text(row * row / 11)).collect::<StringArray>());
    let number = |row: usize| [Some(3), None, Some(-1), Some(0)][row % 7 % 4];
    let numbers: ArrayRef = Arc::new((0..rows).map(number).collect::<Int64Array>());
    for other in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, DataType::Binary, DataType::BinaryView] {
        let [left, right] = [&left, &right].map(|text| cast(text, &other).unwrap());
        for keys in [[left.clone(), right.clone()], [left.clone(), numbers.clone()], [numbers.clone(), right.clone()]] {
            let keys = keys.map(|key| key.slice(1_003, 3_000));
            let mut index = index(&keys);
            check_removal(&mut index, &keys);
        }
    }
}

/// Numbers rows, forgets every other key, and numbers them again.
fn check_removal(index: &mut GroupIndex, keys: &[ArrayRef]) {
    let converter = row_converter(&keys.iter().map(|key| key.data_type().clone()).collect::<Vec<_>>()).unwrap();
    let rows = converter.convert_columns(keys).unwrap();
    let mut groups = intern(index, keys);
    for _ in 0..2 {
        let by_key: HashMap<_, _> = rows.iter().map(|row| row.owned()).zip(groups.iter().copied()).collect();
        assert!(rows.iter().zip(&groups).all(|(row, group)| by_key[&row.owned()] == *group));
        assert_eq!(by_key.len(), index.len());
        assert_eq!(
            converter.convert_columns(&index.keys(&groups).unwrap()).unwrap().iter().collect::<Vec<_>>(),
            rows.iter().collect::<Vec<_>>()
        );
        index.remove(&index.groups_in_order().into_iter().step_by(2).collect::<Vec<_>>());
        groups = intern(index, keys);
    }
}

#[test]
fn a_slice_is_read_from_its_offset() {
    let keys: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3), None]));
    let mut index = index(std::slice::from_ref(&keys));
    assert_eq!(intern(&mut index, &[keys.slice(1, 3)]), [0, 1, 0]);
    assert_eq!(index.keys(&[0, 1]).unwrap()[0].as_ref(), &Int32Array::from(vec![None, Some(3)]) as &dyn Array);
}

#[test]
fn what_cannot_be_a_key_is_said() {
    let entries = arrow::datatypes::Field::new_struct(
        "entries",
        vec![
            arrow::datatypes::Field::new("k", DataType::Utf8, false),
            arrow::datatypes::Field::new("v", DataType::Int32, true),
        ],
        false,
    );
    if let Err(error) = GroupIndex::new(&[DataType::Map(Arc::new(entries), false)]) {
        assert_eq!(error.code(), Code::Type);
    }
}
