use super::{Entry, Node, SyntaxError, Value, parse};
use crate::Position;

fn at(line: usize, column: usize) -> Position {
    Position { line, column }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Mapping(entries) => entries,
        other => panic!("not a mapping: {other:?}"),
    }
}

/// The values of the only document, a mapping.
fn values(text: &str) -> Vec<Value> {
    let documents = parse(text).expect("this is YAML");
    entries(&documents[0]).iter().map(|entry| entry.value.value.clone()).collect()
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn every_node_knows_its_place() {
    let text = "a: 1\nb: [x, \"yé\", 'z']\nc:\n  d: |\n    bar\n  \u{1F600}: ~\n";
    let documents = parse(text).expect("this is YAML");
    let root = entries(&documents[0]);
    let span = |node: &Node| &text[node.span.clone()];

    assert_eq!((root[0].key.position, root[0].value.position), (at(1, 1), at(1, 4)));
    let Value::Sequence(items) = &root[1].value.value else { panic!("not a list") };
    let places: Vec<_> = items.iter().map(|item| (item.position, span(item))).collect();
    assert_eq!(places, [(at(2, 5), "x"), (at(2, 8), "\"yé\""), (at(2, 14), "'z'")]);
    let inner = entries(&root[2].value);
    assert_eq!((inner[0].value.position, span(&inner[0].value).trim_end()), (at(5, 5), "bar"));
    assert_eq!((inner[1].key.position, inner[1].value.position), (at(6, 3), at(6, 6)));
}

#[test]
fn an_alias_stands_where_its_anchor_does() {
    let documents = parse("a: &x secret\nb: *x\n").expect("this is YAML");
    let aliased = &entries(&documents[0])[1].value;
    assert_eq!((aliased.position, &aliased.value), (at(1, 7), &string("secret")));
}

#[test]
fn scalars_have_the_types_of_k0s() {
    assert_eq!(
        values("a: yes\nb: Off\nc: 'yes'\nd: ~\ne:\nf: null\ng: ''\nh: 0x1f\ni: 1e3\nj: !!str 5"),
        [
            Value::Boolean(true),
            Value::Boolean(false),
            string("yes"),
            Value::Null,
            Value::Null,
            Value::Null,
            string(""),
            Value::Integer(31),
            Value::Float(1000.0),
            string("5"),
        ]
    );
}

/// 010 is eight in YAML 1.1 and ten in YAML 1.2: no number until somebody says which.
#[test]
fn numbers_of_two_readings_are_none() {
    assert_eq!(values("a: 010\nb: 1_000"), [string("010"), string("1_000")]);
}

#[test]
fn empty_documents_are_left_out() {
    for text in ["", "---\n---\n", "# nothing\n", "~\n"] {
        assert_eq!(parse(text), Ok(Vec::new()), "{text:?}");
    }
    assert_eq!(parse("---\na: 1\n---\n---\nb: 2\n").map(|documents| documents.len()), Ok(2));
}

#[test]
fn syntax_errors_have_a_place_and_no_snippet() {
    let error = parse("authPass: \"sec\\qret\"\n").expect_err("\\q is no escape");
    assert_eq!(
        error,
        SyntaxError {
            position: at(1, 11),
            message: "while parsing a quoted scalar, found unknown escape character".to_owned(),
        }
    );
}
