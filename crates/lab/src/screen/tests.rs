use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::view::render;
use super::*;

fn node(number: u64, holds: bool) -> NodeView {
    NodeView {
        name: format!("controller-{number}"),
        address: format!("10.0.0.1{number}"),
        holds,
        controller: "running",
        role: if holds { "Active" } else { "Backup" }.to_owned(),
        reason: String::new(),
        apiserver: "running",
        answers: 100 * number,
        cut: number == 3,
    }
}

fn view() -> View {
    View {
        elapsed: Duration::from_secs(65),
        phase: Some("the holder is killed".to_owned()),
        virtual_address: "10.0.0.100".to_owned(),
        nodes: vec![node(1, false), node(2, true), node(3, false)],
        selected: 1,
        aims_at_apiservers: false,
        rate: 199.6,
        failed: 2,
        failure: Some("connect: refused".to_owned()),
        silence: "12.0 ms".to_owned(),
        events: vec!["newest".to_owned(), "older".to_owned()],
    }
}

#[test]
fn all_at_a_glance() {
    let expected = "\
cplb lab   1:05   the holder is killed

  node          address         virtual IP       control. VRRP       apiserver share
  controller-1  10.0.0.11                        running  Backup     running     17%
> controller-2  10.0.0.12       * 10.0.0.100     running  Active     running     33%
  controller-3  10.0.0.13                        running  Backup     running     50%  cut off

  client: 200 answers/s, 2 failed (connect: refused), longest silence 12.0 ms

  keys on the controller of controller-2: k kill  f freeze  t thaw  s stop  r run
  1 2 3 choose a node  a controller/apiserver  c cut  h heal  q quit

newest
older";
    assert_eq!(render(&view(), 100).join("\n"), expected);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let lines = render(&view(), 20);
    assert!(lines.iter().all(|line| line.chars().count() <= 20));
    assert_eq!(lines[3], "  controller-1  10.0");
}

fn press(keys: &mut Keys, character: char, cut: bool) -> Option<Order> {
    let key = KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE);
    keys.press(key, 3, &|_| cut)
}

#[test]
fn keys_act_on_what_is_selected() {
    let mut keys = Keys { selected: 0, part: Part::Controller };
    assert_eq!(press(&mut keys, '3', false), None);
    assert_eq!(press(&mut keys, '4', false), None);
    let order = |verb, target| Some(Order::Do(Action { verb, target }));
    let third = Which::Number(3);
    assert_eq!(press(&mut keys, 'k', false), order(Verb::Kill, Target::Controller(third)));
    assert_eq!(press(&mut keys, 'a', false), None);
    assert_eq!(press(&mut keys, 'f', false), order(Verb::Freeze, Target::Apiserver(third)));
    assert_eq!(press(&mut keys, 'c', false), order(Verb::Cut, Target::Node(third)));
    assert_eq!(press(&mut keys, 'c', true), order(Verb::Heal, Target::Node(third)));
    assert_eq!(press(&mut keys, 'x', false), None);
    assert_eq!(press(&mut keys, 'q', false), Some(Order::Quit));
}

#[test]
fn control_c_quits_and_c_alone_cuts() {
    let mut keys = Keys { selected: 0, part: Part::Controller };
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(keys.press(key, 3, &|_| false), Some(Order::Quit));
}
