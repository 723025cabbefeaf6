//! Rights in Kafka, granted by its own protocol, as topics are created.

use anyhow::{Result, bail};

use crate::topics::{call, put_text, take, take_text};

const CREATE_ACLS: i16 = 30;
/// The newest version of the request whose strings are prefixed with plain lengths.
const VERSION: i16 = 1;
const ALLOW: i8 = 3;

/// A right, in the words of Strimzi's KafkaUser.
#[derive(Debug, Clone)]
pub struct Acl {
    /// `topic`, `group`, `cluster` or `transactionalId`.
    pub kind: String,
    /// Of the resource.
    pub name: String,
    /// `literal` or `prefix`.
    pub pattern: String,
    /// `Read`, `Write` …
    pub operation: String,
}

/// Grants a user these rights.
pub(crate) fn create(bootstrap: &str, user: &str, acls: &[Acl]) -> Result<()> {
    let answer = call(bootstrap, CREATE_ACLS, VERSION, &request(user, acls)?)?;
    let answer = &mut answer.as_slice();
    take::<4>(answer)?; // throttle time
    for _ in 0..i32::from_be_bytes(take(answer)?) {
        let code = i16::from_be_bytes(take(answer)?);
        let message = take_text(answer)?;
        if code != 0 {
            bail!("Kafka did not grant a right: error {code} {message}");
        }
    }
    Ok(())
}

/// The Kafka protocol guide, CreateAcls request, version 1. The codes are those of `org.apache.kafka.common`: `ResourceType`,
/// `PatternType` and `AclOperation`.
fn request(user: &str, acls: &[Acl]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend(i32::try_from(acls.len())?.to_be_bytes());
    for Acl { kind, name, pattern, operation } in acls {
        bytes.extend(code(kind, &[("topic", 2), ("group", 3), ("cluster", 4), ("transactionalId", 5)])?);
        put_text(&mut bytes, if kind == "cluster" { "kafka-cluster" } else { name });
        bytes.extend(code(pattern, &[("literal", 3), ("prefix", 4)])?);
        put_text(&mut bytes, &format!("User:{user}"));
        put_text(&mut bytes, "*"); // host
        let operations =
            [("All", 2), ("Read", 3), ("Write", 4), ("Create", 5), ("Delete", 6), ("Describe", 8)];
        bytes.extend(code(operation, &operations)?);
        bytes.extend(ALLOW.to_be_bytes());
    }
    Ok(bytes)
}

fn code(word: &str, codes: &[(&str, i8)]) -> Result<[u8; 1]> {
    match codes.iter().find(|(known, _)| *known == word) {
        Some((_, code)) => Ok(code.to_be_bytes()),
        None => bail!("{word:?} is none of {codes:?}"),
    }
}
