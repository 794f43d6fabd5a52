//! What was too big for the store is packed anew, smaller.

use crate::codec::pack;
use crate::codec::pack::Pack;
use crate::codec::pack::PackBuilder;
use crate::drive::Drive;
use crate::drive::Error;

/// Splits a group that is too big for one put; packs that are too big alone are packed anew.
pub(in crate::drive) fn split(
    drive: &Drive,
    packs: Vec<Pack>,
    limit_bytes: u64,
) -> Result<Vec<Vec<Pack>>, Error> {
    let object_max = drive.store.limits().object_bytes_max;
    let total: u64 = packs.iter().map(|pack| pack.body.len()).sum();
    log::info!(
        "{total} bytes were too much for one message (limit {limit_bytes}); sending less at once"
    );
    let mut repacked = Vec::new();
    for pack in packs {
        if pack.body.len() <= object_max && pack.body.len() < total {
            repacked.push(vec![pack]);
        } else {
            repacked.extend(
                repack(
                    drive,
                    &pack,
                    object_max
                        .min(pack.body.len() / 2)
                        .max(PackBuilder::CAPACITY_BYTES_MIN),
                )?
                .into_iter()
                .map(|pack| vec![pack]),
            );
        }
    }
    Ok(repacked)
}

/// Opens a pack and puts its chunks into smaller ones, each with a new id and so with new keys.
fn repack(drive: &Drive, old: &Pack, capacity: u64) -> Result<Vec<Pack>, Error> {
    let whole: Vec<u8> = old.body.parts().concat();
    let mut packs = Vec::new();
    let mut builder = PackBuilder::new(&drive.keys, capacity);
    for frame in &old.frames {
        let sealed = &whole[frame.offset as usize..][..frame.sealed_len as usize];
        let plain = pack::open_frame(&drive.keys, old.id, frame, sealed)?;
        if !builder.fits(plain.len()) && !builder.frames().is_empty() {
            packs.push(
                std::mem::replace(&mut builder, PackBuilder::new(&drive.keys, capacity)).finish(),
            );
        }
        builder.push(frame.chunk, &plain)?;
    }
    packs.push(builder.finish());
    Ok(packs)
}
