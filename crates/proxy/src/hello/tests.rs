use super::FirstBytes;

/// Captured from `openssl s_client -servername kubernetes`, OpenSSL 3.0.19.
const HELLO: &[u8] = include_bytes!("../../tests/data/client-hello-openssl.bin");

/// The same with `-early_data`: a ClientHello, a ChangeCipherSpec and 41 bytes of application data.
const EARLY_DATA: &[u8] = include_bytes!("../../tests/data/client-hello-early-data-openssl.bin");

#[test]
fn a_whole_client_hello_is_recognized_and_no_part_of_it() {
    assert_eq!(HELLO.len(), 316);
    assert_eq!(FirstBytes::of(HELLO), FirstBytes::ClientHello);
    for length in 0..HELLO.len() {
        assert_eq!(FirstBytes::of(&HELLO[..length]), FirstBytes::Unfinished, "{length} bytes");
    }
}

#[test]
fn a_client_hello_may_come_in_several_records() {
    let message = &HELLO[5..];
    // Records of 1, 2, 100 and 208 bytes; the first two split the message's header.
    let mut fragmented = Vec::new();
    for (fragment, length) in [
        (&message[..1], [0x00, 0x01]),
        (&message[1..3], [0x00, 0x02]),
        (&message[3..103], [0x00, 0x64]),
        (&message[103..], [0x00, 0xd0]),
    ] {
        fragmented.extend_from_slice(&[0x16, 0x03, 0x01]);
        fragmented.extend_from_slice(&length);
        fragmented.extend_from_slice(fragment);
    }
    assert_eq!(FirstBytes::of(&fragmented), FirstBytes::ClientHello);
    assert_eq!(FirstBytes::of(&fragmented[..fragmented.len() - 1]), FirstBytes::Unfinished);
}

#[test]
fn nothing_may_follow_a_client_hello() {
    assert_eq!(EARLY_DATA.len(), 462);
    assert_eq!(FirstBytes::of(EARLY_DATA), FirstBytes::Other);
    // 0x19a bytes of ClientHello; with the first byte of the ChangeCipherSpec it is more than that.
    assert_eq!(FirstBytes::of(&EARLY_DATA[..5 + 0x19a]), FirstBytes::ClientHello);
    assert_eq!(FirstBytes::of(&EARLY_DATA[..5 + 0x19a + 1]), FirstBytes::Other);

    let mut twice = HELLO.to_vec();
    twice.extend_from_slice(HELLO);
    assert_eq!(FirstBytes::of(&twice), FirstBytes::Other);
}

#[test]
fn nothing_may_follow_within_the_same_record() {
    // A handshake record of five bytes: an empty ClientHello and one byte of another message.
    let bytes = [0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x00, 0x0b];
    assert_eq!(FirstBytes::of(&bytes), FirstBytes::Other);
    assert_eq!(FirstBytes::of(&bytes[..9]), FirstBytes::Other);
    assert_eq!(FirstBytes::of(&bytes[..8]), FirstBytes::Unfinished);
}

#[test]
fn anything_else_is_told_by_its_beginning() {
    for other in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"P",
        b"\x16\x02",
        // A ServerHello; an empty record; a record of 16,385 bytes; application data; an alert.
        &[0x16, 0x03, 0x03, 0x00, 0x7a, 0x02],
        &[0x16, 0x03, 0x03, 0x00, 0x00],
        &[0x16, 0x03, 0x03, 0x40, 0x01],
        &[0x17],
        &[0x15],
    ] {
        assert_eq!(FirstBytes::of(other), FirstBytes::Other, "{other:02x?}");
    }
}
