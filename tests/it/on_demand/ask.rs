//! An address that is asked who may have a certificate.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use super::Scene;

/// Answers every request with what it is told to, and writes down what was asked.
struct Registry {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self {
            url: format!("http://{}/check?key=1", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new(answer.to_owned())),
            asked: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&registry.answer), Arc::clone(&registry.asked));
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let line = head.lines().next().unwrap_or_default().to_owned();
                asked.lock().unwrap().push(line);
                let text = format!(
                    "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                    answer.lock().unwrap()
                );
                let _ = client.write_all(text.as_bytes());
            }
        });
        registry
    }

    fn say(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[test]
fn an_address_is_asked_once_and_its_answer_holds_as_long_as_it_says() {
    let registry = Registry::start("200 OK");
    let Some(scene) = Scene::start(&["--ask", &registry.url]) else {
        return;
    };
    let served = |name: &str| scene.client(name).connect().is_ok();
    assert!(served("a.test"));
    let query = "GET /check?key=1&domain=a.test&client=127.0.0.1 HTTP/1.1";
    assert_eq!(registry.asked(), [query]);
    assert!(served("a.test"));
    assert!(registry.asked().is_empty());

    registry.say("404 Not Found\r\ncache-control: max-age=600");
    for _ in 0..3 {
        assert!(!served("b.test"));
    }
    assert_eq!(registry.asked().len(), 1);
    registry.say("403 Forbidden\r\ncache-control: no-store");
    for _ in 0..3 {
        assert!(!served("c.test"));
    }
    assert_eq!(registry.asked().len(), 3);
    assert_eq!(scene.decisions("refused_denied"), 6);
    // Whoever gives no answer has said no; for a moment nobody asks again.
    for (name, answer) in [
        ("d.test", "302 Found\r\nlocation: /yes"),
        ("e.test", "503 Service Unavailable"),
        ("f.test", "429 Too Many Requests"),
        ("g.test", "nonsense"),
    ] {
        registry.say(answer);
        assert!(!served(name) && !served(name), "{answer}");
        assert_eq!(registry.asked().len(), 1, "{answer}");
    }
    assert_eq!(scene.decisions("refused_no_answer"), 8);
    let issued = scene
        .events()
        .iter()
        .filter(|(name, _)| name == "certificate-issued")
        .count();
    assert_eq!(issued, 1);
}
