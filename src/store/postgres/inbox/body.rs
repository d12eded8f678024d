//! Bodies, which are mostly compressed.

use std::collections::HashMap;
use std::ops::Range;

use super::super::fault::PostgresFault;
use super::super::session::{Link, values};
use crate::store::codec::StoredBody;

/// The body that was stored so.
pub(super) fn read(bytes: Vec<u8>, length: Option<i32>) -> Result<Vec<u8>, PostgresFault> {
    let damaged = || PostgresFault::Damaged("a body".to_owned());
    let length = length.map(usize::try_from).transpose().map_err(|_| damaged())?;
    StoredBody::read(bytes, length).ok_or_else(damaged)
}

/// The place of an event in its body, as it is stored.
pub(super) fn place(start: i32, length: i32) -> Range<usize> {
    let (start, length) = (usize::try_from(start).unwrap_or(0), usize::try_from(length).unwrap_or(0));
    start..start.saturating_add(length)
}

/// This part of a body, or what there is of it.
pub(super) fn within(body: &[u8], part: Range<usize>) -> &[u8] {
    let end = part.end.min(body.len());
    &body[part.start.min(end)..end]
}

/// Parts of bodies, each of a delivery. Of large bodies, which are not compressed, no more is read.
pub(super) async fn parts(link: &Link, wanted: &[(i64, Range<usize>)]) -> Result<Vec<Vec<u8>>, PostgresFault> {
    let sql = "SELECT p.place, CASE WHEN d.length IS NULL THEN substring(d.body FROM p.start + 1 FOR p.length) END
               FROM unnest($1::bigint[], $2::integer[], $3::integer[])
                   WITH ORDINALITY AS p (delivery, start, length, place)
               JOIN @deliveries d ON d.id = p.delivery";
    let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let deliveries: Vec<i64> = wanted.iter().map(|(delivery, _)| *delivery).collect();
    let starts: Vec<i32> = wanted.iter().map(|(_, part)| number(part.start)).collect();
    let lengths: Vec<i32> = wanted.iter().map(|(_, part)| number(part.len())).collect();
    let rows = link.rows(sql, values![deliveries => INT8_ARRAY, starts => INT4_ARRAY, lengths => INT4_ARRAY]).await?;
    let mut found: Vec<Option<Vec<u8>>> = vec![None; wanted.len()];
    for row in &rows {
        let place = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
        if let Some(found) = found.get_mut(place) {
            *found = row.try_get(1)?;
        }
    }
    let packed: Vec<i64> =
        found.iter().zip(&deliveries).filter(|(part, _)| part.is_none()).map(|(_, delivery)| *delivery).collect();
    let bodies = if packed.is_empty() { HashMap::new() } else { whole(link, packed).await? };
    let parts = found.into_iter().zip(wanted).map(|(part, (delivery, place))| {
        part.unwrap_or_else(|| bodies.get(delivery).map_or_else(Vec::new, |body| within(body, place.clone()).to_vec()))
    });
    Ok(parts.collect())
}

/// The whole bodies of these deliveries.
pub(super) async fn whole(link: &Link, mut deliveries: Vec<i64>) -> Result<HashMap<i64, Vec<u8>>, PostgresFault> {
    deliveries.sort_unstable();
    deliveries.dedup();
    let sql = "SELECT id, length, body FROM @deliveries WHERE id = ANY ($1)";
    let rows = link.rows(sql, values![deliveries => INT8_ARRAY]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, read(row.try_get(2)?, row.try_get(1)?)?))).collect()
}
