use std::io::{PipeReader, PipeWriter, Read};

use super::*;

/// A pipe, as the daemon's standard error is one under a supervisor.
fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().unwrap()
}

fn lines(count: usize, queue: &mut Queue) {
    for number in 0..count {
        // As the formatter does: a line is one write.
        queue.write_all(format!("line {number:060}\n").as_bytes()).unwrap();
    }
}

#[test]
fn lines_arrive_in_their_order_and_the_end_waits_for_them() {
    let (mut reader, writer) = pipe();
    let (mut queue, rest) = Queue::start(writer, |_| panic!("nothing is lost")).unwrap();
    queue.write_all(b"one\n").unwrap();
    queue.write_all(b"two\n").unwrap();
    drop(rest);
    let mut read = [0; 8];
    reader.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"one\ntwo\n");
}

#[test]
fn nobody_waits_for_a_reader_that_hangs_and_what_is_lost_is_told() {
    let (reader, writer) = pipe();
    let (lost, told) = mpsc::channel();
    let (mut queue, rest) = Queue::start(writer, move |count| lost.send(count).unwrap()).unwrap();
    // More than fits into the pipe (64 KiB, lines of 66 bytes) and the queue.
    lines(10_000, &mut queue);

    let all = std::thread::spawn(move || io::read_to_string(reader).unwrap().lines().count());
    drop((rest, queue));
    let (written, lost) = (all.join().unwrap() as u64, told.iter().sum::<u64>());
    assert!(lost > 1_000, "{lost} lost");
    assert_eq!(written + lost, 10_000);
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let (reader, writer) = pipe();
    let (mut queue, rest) = Queue::start(writer, |_| ()).unwrap();
    lines(10_000, &mut queue);
    let begin = Instant::now();
    drop(rest);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    drop(reader);
}

#[test]
fn a_reader_that_went_away_stops_nobody() {
    let (reader, writer) = pipe();
    drop(reader);
    let (mut queue, rest) = Queue::start(writer, |_| ()).unwrap();
    lines(100, &mut queue);
    let begin = Instant::now();
    drop(rest);
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
}
