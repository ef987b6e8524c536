//! Pages: as many rows as were asked for, as long as they fit one message of the road.

use prost::Message;
use tonic::Status;

/// A page of rows, and where the next one begins.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) next_page_token: String,
}

/// How many rows a page may hold.
pub(crate) struct Sizes {
    pub(crate) default: u32,
    pub(crate) max: u32,
}

/// Cuts a page out of all rows.
///
/// # Errors
/// `INVALID_ARGUMENT` for a token that none of these pages gave.
pub(crate) fn page<T: Message + Clone>(
    rows: &[T],
    page_size: u32,
    page_token: &str,
    sizes: &Sizes,
) -> Result<Page<T>, Status> {
    let start = if page_token.is_empty() { 0 } else { parse(page_token, rows.len())? };
    let limit = if page_size == 0 { sizes.default } else { page_size.min(sizes.max) };
    let mut page = Vec::new();
    let mut bytes = 0;
    for row in rows.iter().skip(start).take(limit as usize) {
        bytes += row.encoded_len() + ROW_FRAME_BYTES;
        if bytes > PAGE_BYTES_MAX && !page.is_empty() {
            break;
        }
        page.push(row.clone());
    }
    let next = start + page.len();
    let next_page_token = if next < rows.len() { format!("{PREFIX}{next}") } else { String::new() };
    Ok(Page { rows: page, next_page_token })
}

fn parse(token: &str, rows: usize) -> Result<usize, Status> {
    let start = token.strip_prefix(PREFIX).and_then(|start| start.parse().ok());
    let start = start.filter(|start| (1..rows).contains(start));
    start.ok_or_else(|| Status::invalid_argument("page_token is none that this service gave"))
}

const PREFIX: &str = "row-";
/// Most bytes of a page's rows: the road carries 64 KiB in one message, its frame included.
const PAGE_BYTES_MAX: usize = 60 * 1024;
/// Tag and length of a row.
const ROW_FRAME_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{self, Published};

    const SIZES: Sizes = Sizes { default: 250, max: 5_000 };

    #[test]
    fn pages_of_any_size_hold_every_row_once_and_fit_a_message() {
        let schools = data::schools(&Published::shipped()).unwrap();
        for page_size in [1_000, 0, 5_000, u32::MAX, 97] {
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let page = page(&schools, page_size, &token, &SIZES).unwrap();
                assert!(!page.rows.is_empty());
                let bytes: usize = page.rows.iter().map(|row| row.encoded_len() + ROW_FRAME_BYTES).sum();
                assert!(bytes <= PAGE_BYTES_MAX);
                seen.extend(page.rows);
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, schools);
        }
    }

    #[test]
    fn a_token_that_was_not_given_is_refused() {
        let districts = data::districts(&Published::shipped()).unwrap();
        for token in ["row-0", "row-263", "row-", "row--1", "7", "row-99999999999999999999"] {
            let refused = page(&districts, 10, token, &SIZES).err().unwrap();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{token}");
        }
        assert_eq!(page(&districts, 10, "row-262", &SIZES).unwrap().next_page_token, "");
    }
}
