//! Messages that are too large for memory.

use super::*;

#[tokio::test]
async fn a_body_that_was_kept_in_a_file_arrives_whole() {
    let mut bench = Bench::new();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[b'x'; 600_000]).unwrap();
    let (item, alice) = (system::new_item_id(), "alice@example.org");
    let state = new_state(item, vec![Address::parse(alice).unwrap().into()], alice);
    let body = content::Content::file(file, 0, 600_000);
    bench.queue.append(state, b"A: b\r\n\r\n".to_vec(), body).await.unwrap();
    bench.gone(item).await;
    bench.quiet().await;
    assert!(bench.inbox()[0].ends_with(&"x".repeat(600_000)));
}
