//! A phone: a WebSocket client that reads frames as JSON.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use super::DEADLINE;
use super::hub::Hub;

/// An open socket to a hub.
pub struct Phone {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What came instead of a frame.
#[derive(Debug, PartialEq)]
pub enum End {
    /// The hub closed, with this code.
    Closed(u16),
    /// The connection broke.
    Broken,
}

impl Phone {
    pub async fn connect(hub: &Hub) -> Phone {
        let (socket, _) = connect_async(format!("ws://{}/ws", hub.address))
            .await
            .expect("the hub takes phones");
        Phone { socket }
    }

    /// From another address of this machine, such as 127.0.0.2.
    pub async fn connect_from(hub: &Hub, address: &str) -> Phone {
        let socket = TcpSocket::new_v4().expect("a socket");
        let from = format!("{address}:0").parse().expect("an IPv4 address");
        socket.bind(from).expect("an address of this machine");
        let stream = socket.connect(hub.address).await.expect("the hub listens");
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = client_async(format!("ws://{}/ws", hub.address), stream)
            .await
            .expect("the hub takes phones");
        Phone { socket }
    }

    /// Sends a frame and waits for the answer, of whatever type.
    pub async fn ask(&mut self, mut frame: Value) -> Value {
        frame["id"] = "asked".into();
        self.send(frame).await;
        loop {
            let answer = self.next().await.expect("the socket stays open");
            if answer["re"] == "asked" {
                return answer;
            }
        }
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_text(frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.socket
            .send(Message::text(text.into()))
            .await
            .expect("the socket is open");
    }

    /// The next frame, or how the socket ended.
    pub async fn next(&mut self) -> Result<Value, End> {
        loop {
            let message = tokio::time::timeout(DEADLINE, self.socket.next())
                .await
                .expect("a frame in time");
            match message {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(End::Closed(frame.map_or(1005, |frame| frame.code.into())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(End::Broken),
            }
        }
    }

    /// Reads on until a frame of this type.
    pub async fn wait_for(&mut self, kind: &str) -> Value {
        self.wait_where(kind, |_| true).await
    }

    /// Reads on until a frame of this type for which `wanted` holds.
    pub async fn wait_where(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let read = async {
            loop {
                let frame = self.next().await.expect("the socket stays open");
                if frame["type"] == kind && wanted(&frame) {
                    return frame;
                }
            }
        };
        tokio::time::timeout(DEADLINE, read)
            .await
            .unwrap_or_else(|_| panic!("no such {kind} in time"))
    }

    /// Reads on until the hub closes, and returns the code.
    pub async fn wait_for_close(&mut self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    /// Nothing of this type within a short while.
    pub async fn hears_nothing(&mut self, kind: &str, during: Duration) -> bool {
        let read = async {
            loop {
                match self.next().await {
                    Ok(frame) if frame["type"] == kind => return,
                    Ok(_) => {}
                    Err(end) => panic!("the socket ended: {end:?}"),
                }
            }
        };
        tokio::time::timeout(during, read).await.is_err()
    }
}
