//! A body that is written piece by piece, as fast as it is taken.

use std::time::Duration;

use http::HeaderMap;
use http::response::Parts;
use spin_sdk::wasip3::http::types::{ErrorCode, HeaderError, Headers, Response as WasiResponse};
use spin_sdk::wasip3::http_compat::BodyWriter;
use spin_sdk::wasip3::wit_bindgen::StreamWriter;

use crate::limit::within;
use crate::turns::Turn;

/// How long a caller may take for a piece: no host bounds it, and what is not taken stays in memory. A page
/// of usual titles, 200 kB, in it is a slow line of a telephone.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// What is written at a time, in bytes: the host takes one at once, and the next when the one before is on its way to the caller. So
/// this, and some 400 kB in its connection, is what it holds of a body that nobody takes.
const SLICE: usize = 64 * 1024;

/// What a body consists of, and a turn that lasts until it is taken.
pub(super) struct Pieces {
    pub(super) pieces: Vec<String>,
    pub(super) turn: Turn,
}

impl Pieces {
    pub(super) fn length(&self) -> usize {
        self.pieces.iter().map(String::len).sum()
    }

    /// The response, whose pieces are written while the host hands it on.
    pub(super) fn response(self, head: Parts) -> Result<WasiResponse, ErrorCode> {
        let (writer, contents, trailers) = BodyWriter::new();
        let (response, _) = WasiResponse::new(headers(head.headers)?, Some(contents), trailers);
        _ = response.set_status_code(head.status.as_u16());
        spin_sdk::wasip3::spawn(self.write(writer));
        Ok(response)
    }

    /// A writer that is dropped before its end ends the connection.
    async fn write(self, mut writer: BodyWriter) {
        let Pieces { pieces, turn } = self;
        for (place, piece) in pieces.into_iter().enumerate() {
            let is_taken_at_once = place == 0 && piece.len() <= SLICE;
            let writing = write_all(&mut writer.stream_writer, &piece);
            let taken =
                if is_taken_at_once { Some(writing.await) } else { within(TAKEN_WITHIN, writing).await };
            // Nobody takes it any more, or too slowly.
            if taken != Some(true) {
                return;
            }
        }
        drop(turn);
        drop(writer.stream_writer);
        _ = writer.result_writer.write(Ok(None)).await;
    }
}

/// The response to a `HEAD`: with the length of a body, and without the body. A body that is empty
/// would have another length.
pub(super) fn without_body(head: Parts) -> Result<WasiResponse, ErrorCode> {
    let (writer, _, trailers) = BodyWriter::new();
    let (response, _) = WasiResponse::new(headers(head.headers)?, None, trailers);
    _ = response.set_status_code(head.status.as_u16());
    spin_sdk::wasip3::spawn(async { _ = writer.result_writer.write(Ok(None)).await });
    Ok(response)
}

fn headers(headers: HeaderMap) -> Result<Headers, ErrorCode> {
    let invalid = |error: HeaderError| ErrorCode::InternalError(Some(error.to_string()));
    headers.try_into().map_err(invalid)
}

/// Whether all of it was taken.
async fn write_all(writer: &mut StreamWriter<u8>, piece: &str) -> bool {
    for slice in piece.as_bytes().chunks(SLICE) {
        if !writer.write_all(slice.to_vec()).await.is_empty() {
            return false;
        }
    }
    true
}
