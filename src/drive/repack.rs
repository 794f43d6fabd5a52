//! What was too big for the store is grouped anew, and packed anew where it must be.

use crate::codec::pack;
use crate::codec::pack::Pack;
use crate::codec::pack::PackBuilder;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::filling::pack_bytes;

/// What becomes of a group that was refused.
pub(in crate::drive) enum Smaller {
    /// Groups that are put instead, none of them what was refused.
    Groups(Vec<Vec<Pack>>),
    /// It cannot be made smaller.
    Same(Vec<Pack>),
}

/// Divides a group that was too big for one put into as few as are known to be taken; packs that are too big alone
/// are packed anew.
pub(in crate::drive) fn split(
    drive: &Drive,
    packs: Vec<Pack>,
    limit_bytes: u64,
) -> Result<Smaller, Error> {
    let limits = drive.store.limits();
    let (count, total) = (packs.len(), bytes_of(&packs));
    log::info!(
        "{total} bytes were too much for one message (limit {limit_bytes}); sending less at once"
    );
    let mut smaller = Vec::new();
    for pack in packs {
        let bytes = pack.body.len();
        if bytes <= limits.object_bytes_max && bytes < total {
            smaller.push(pack);
            continue;
        }
        let capacity = match pack_bytes(limits) {
            fitting if fitting < bytes => fitting,
            _ => bytes / 2,
        };
        smaller.extend(repack(
            drive,
            &pack,
            capacity.max(PackBuilder::CAPACITY_BYTES_MIN),
        )?);
    }
    // Who refuses what is known to be taken means the packs, or does not say what it means: then half is tried.
    let most = match total > limits.put_bytes_proven || smaller.len() > count {
        true => limits.put_bytes_proven,
        false => total / 2,
    };
    let mut groups = group(smaller, limits.objects_max, most);
    Ok(match groups.pop() {
        Some(only) if groups.is_empty() && only.len() == count => Smaller::Same(only),
        last => {
            groups.extend(last);
            Smaller::Groups(groups)
        }
    })
}

/// Each pack joins the first group that has room for it.
fn group(packs: Vec<Pack>, objects_max: usize, bytes_max: u64) -> Vec<Vec<Pack>> {
    let mut groups: Vec<Vec<Pack>> = Vec::new();
    for pack in packs {
        let has_room = |group: &&mut Vec<Pack>| {
            group.len() < objects_max && bytes_of(group) + pack.body.len() <= bytes_max
        };
        match groups.iter_mut().find(has_room) {
            Some(group) => group.push(pack),
            None => groups.push(vec![pack]),
        }
    }
    groups
}

pub(in crate::drive) fn bytes_of(packs: &[Pack]) -> u64 {
    packs.iter().map(|pack| pack.body.len()).sum()
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
