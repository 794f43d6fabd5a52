//! Old objects in a folder of this machine: as the bots downloaded or prepared them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use crate::clock::Time;
use crate::import::Error;
use crate::import::origin::Found;
use crate::import::origin::Object;
use crate::import::origin::Origin;
use crate::import::origin::System;
use crate::import::origin::Unread;
use crate::import::origin::check_length;
use crate::import::origin::manifests;
use crate::legacy::PIECE_BYTES_MAX;
use crate::legacy::meta::META_BYTES_MAX;
use crate::legacy::meta::Meta;
use crate::legacy::meta::part_number;

struct Folder {
    path: PathBuf,
    objects: Vec<Object>,
}

impl Origin for Folder {
    fn objects(&self) -> &[Object] {
        &self.objects
    }

    fn read(&self, object: &Object) -> Result<Vec<u8>, Unread> {
        check_length(object, PIECE_BYTES_MAX)?;
        let path = self.path.join(&object.name);
        std::fs::read(&path).map_err(|error| Unread::This(error.to_string()))
    }
}

/// What lies in a folder, whichever system made it.
pub(in crate::import) fn find<'a>(path: &Path) -> Result<Found<'a>, Error> {
    let folder = Folder {
        path: path.to_owned(),
        objects: list(path)?,
    };
    let sliced = manifests(&folder)?;
    if !sliced.is_empty() {
        return Ok(Found {
            origin: Box::new(folder),
            system: System::Sliced(sliced),
        });
    }
    if let Some(meta) = meta(&folder)? {
        return Ok(Found {
            origin: Box::new(folder),
            system: System::Batch(meta),
        });
    }
    let parts = folder.objects.iter();
    let has_parts = parts.filter_map(|one| part_number(&one.name)).count() > 0;
    let path = path.display();
    Err(Error::NotFound(match has_parts {
        true => format!(
            "{path} has the parts of a batch, but not its META.json, and without the salt in it nobody can open them; \
             give the batch's id instead, and it is read from Discord"
        ),
        false => format!("{path} has neither a manifest (…manifest….json) nor a META.json"),
    }))
}

fn list(path: &Path) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::host(path))? {
        let entry = entry.map_err(Error::host(path))?;
        let (Ok(meta), Ok(name)) = (entry.path().metadata(), entry.file_name().into_string())
        else {
            continue;
        };
        if meta.is_file() {
            objects.push(Object {
                name,
                bytes: meta.len(),
                at: objects.len(),
                made: Time(meta.mtime().saturating_mul(1_000_000_000)),
            });
        }
    }
    objects.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(objects)
}

/// The batch's META: `META.json`, or something that is called nearly so.
fn meta(folder: &Folder) -> Result<Option<Meta>, Error> {
    let is_meta = |object: &&Object| {
        let name = object.name.to_ascii_lowercase();
        name.contains("meta") && (name.ends_with(".json") || name.ends_with(".txt"))
    };
    let Some(object) = folder.objects.iter().find(is_meta) else {
        return Ok(None);
    };
    check_length(object, META_BYTES_MAX).map_err(|unread| unread.fatal(object))?;
    let bytes = folder.read(object).map_err(|unread| unread.fatal(object))?;
    let meta = Meta::decode(&bytes).map_err(Error::archive(object.name.clone()))?;
    Ok(Some(meta))
}
