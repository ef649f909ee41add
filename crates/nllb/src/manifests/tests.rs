use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn get(url: &str, method: &str, path: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/manifests").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn the_kubelet_finds_a_list_of_the_pod_that_is_offered() {
    let manifests = Manifests::serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = manifests.url().unwrap();

    let text = get(&url, "GET", "/manifests").await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert_eq!(body, r#"{"apiVersion":"v1","items":[],"kind":"PodList","metadata":{}}"#);

    manifests.offer("nllb".into(), json!({ "kind": "Pod", "number": 1 }));
    manifests.offer("nllb-2".into(), json!({ "kind": "Pod" }));
    let text = get(&url, "GET", "/manifests").await;
    assert!(text.ends_with(
        r#"{"apiVersion":"v1","items":[{"kind":"Pod","number":1},{"kind":"Pod"}],"kind":"PodList","metadata":{}}"#
    ));
    manifests.withdraw("nllb");
    let text = get(&url, "GET", "/manifests").await;
    assert!(text.ends_with(
        r#"{"apiVersion":"v1","items":[{"kind":"Pod"}],"kind":"PodList","metadata":{}}"#
    ));
    assert!(get(&url, "GET", "/").await.starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(get(&url, "POST", "/manifests").await.starts_with("HTTP/1.1 405 Method Not Allowed"));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let manifests = Manifests::serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = manifests.url().unwrap();
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/manifests").unwrap();
    let error = Manifests::serve(address.parse().unwrap()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "cannot serve the manifest on {address}: Address already in use (os error 98); choose another --manifest-listen"
        )
    );
}
