//! The topics, and their creation in Kafka by its own protocol: starting Kafka's command-line tool three times takes
//! longer than starting Kafka.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Everything that the app publishes to (docs/contract.md §2).
pub const TOPICS: [&str; 3] = ["task-events", "task-updates", "reminders"];

const PARTITIONS: i32 = 3;
const CREATE_TOPICS: i16 = 19;
/// The newest version of the request whose strings are prefixed with plain lengths.
const VERSION: i16 = 4;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// Creates the topics that are missing, with 3 partitions each.
pub fn create(bootstrap: &str) -> Result<()> {
    check(&mut call(bootstrap, CREATE_TOPICS, VERSION, &request())?.as_slice())
}

/// Calls Kafka with a request of a version whose texts have plain lengths. Returns the answer after its header.
pub(crate) fn call(bootstrap: &str, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(1_i32.to_be_bytes()); // correlation id
    put_text(&mut request, "taskcast"); // client id
    request.extend(body);
    let mut stream =
        TcpStream::connect(bootstrap).with_context(|| format!("connect to Kafka at {bootstrap}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(&i32::try_from(request.len())?.to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).with_context(|| format!("Kafka did not answer a request {key}"))?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    let mut rest = answer.as_slice();
    take::<4>(&mut rest)?; // correlation id
    Ok(rest.to_vec())
}

/// The Kafka protocol guide, CreateTopics request, version 4.
fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(3_i32.to_be_bytes()); // number of topics: TOPICS
    for topic in TOPICS {
        put_text(&mut bytes, topic);
        bytes.extend(PARTITIONS.to_be_bytes());
        bytes.extend(1_i16.to_be_bytes()); // replicas
        bytes.extend(0_i32.to_be_bytes()); // assignments
        bytes.extend(0_i32.to_be_bytes()); // configurations
    }
    bytes.extend(20_000_i32.to_be_bytes()); // time-out in milliseconds
    bytes.push(0); // not only validate
    bytes
}

pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    // The texts here have a few letters.
    bytes.extend(i16::try_from(text.len()).unwrap_or_default().to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn check(answer: &mut &[u8]) -> Result<()> {
    take::<4>(answer)?; // throttle time
    for _ in 0..i32::from_be_bytes(take(answer)?) {
        let topic = take_text(answer)?;
        let code = i16::from_be_bytes(take(answer)?);
        let message = take_text(answer)?;
        if code != 0 && code != TOPIC_ALREADY_EXISTS {
            bail!("Kafka did not create the topic {topic}: error {code} {message}");
        }
    }
    Ok(())
}

pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk().context("Kafka's answer is cut short")?;
    *bytes = rest;
    Ok(*head)
}

pub(crate) fn take_text(bytes: &mut &[u8]) -> Result<String> {
    // A length of -1 is a text that is absent.
    let length = usize::try_from(i16::from_be_bytes(take(bytes)?)).unwrap_or(0);
    let (text, rest) = bytes.split_at_checked(length).context("Kafka's answer is cut short")?;
    *bytes = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}
