//! ACLs that are set in both worlds.

use proptest::prelude::*;

pub(crate) const ACCESS: &str = "system.posix_acl_access";
pub(crate) const DEFAULT: &str = "system.posix_acl_default";

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// The id of entries that name nobody.
const NOBODY: u32 = u32::MAX;

/// An entry: tag, permissions, id.
type Entry = (u16, u16, u32);

/// An ACL, right or not.
#[derive(Clone, Debug)]
pub(crate) struct Acl(Vec<Entry>);

impl Acl {
    /// As the kernel reads it.
    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, perm, id) in &self.0 {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&perm.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }
}

/// Any ACL of the users and groups there are; one in ten is none.
pub(crate) fn acl() -> impl Strategy<Value = Acl> {
    let perm = || 0..8_u16;
    let named = || prop::collection::btree_map(1..3_u32, 0..8_u16, 0..=2);
    let bits = (perm(), perm(), perm(), prop::option::of(perm()));
    let good = (bits, named(), named()).prop_map(|((user, group, other, mask), users, groups)| {
        let is_named = !users.is_empty() || !groups.is_empty();
        let mask = mask.or(is_named.then_some(group));
        let mut acl = vec![(USER_OBJ, user, NOBODY)];
        acl.extend(users.into_iter().map(|(id, perm)| (USER, perm, id)));
        acl.push((GROUP_OBJ, group, NOBODY));
        acl.extend(groups.into_iter().map(|(id, perm)| (GROUP, perm, id)));
        acl.extend(mask.map(|perm| (MASK, perm, NOBODY)));
        acl.push((OTHER, other, NOBODY));
        Acl(acl)
    });
    let bad = prop_oneof![
        Just(vec![]),
        Just(vec![(USER_OBJ, 7, NOBODY)]),
        Just(vec![
            (USER_OBJ, 6, NOBODY),
            (USER, 6, 1),
            (GROUP_OBJ, 4, NOBODY),
            (OTHER, 4, NOBODY)
        ]),
        Just(vec![
            (GROUP_OBJ, 4, NOBODY),
            (USER_OBJ, 6, NOBODY),
            (OTHER, 4, NOBODY)
        ]),
    ];
    prop_oneof![9 => good, 1 => bad.prop_map(Acl)]
}
