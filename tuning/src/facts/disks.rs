//! The disks below a mount: through partitions, device-mapper (LVM, LUKS) and md (RAID) down to what has a queue of its
//! own.

use std::collections::BTreeSet;

use super::mounts::Mount;
use crate::tree::Tree;

/// Layers that are followed: LUKS on LVM on RAID has three.
const DEPTH_MAX: usize = 8;
/// Disks of one stack that are looked at.
const DISKS_MAX: usize = 256;
/// What the disks of hypervisors that speak SCSI call their maker.
const VIRTUAL_VENDORS: [&str; 6] = ["QEMU", "VMware", "VBOX", "Msft", "Google", "XEN"];

/// What kind of device a disk is, as far as its name and maker tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A hypervisor's: it cannot know what is behind it.
    Virtual,
    /// NVMe.
    Nvme,
    /// SATA, SAS, or a RAID controller's volume.
    Scsi,
    /// A card or eMMC.
    Flash,
    /// A file, memory, or unknown.
    Other,
}

/// A disk with a queue of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Such as `vda`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it says of itself; `None` where that cannot be seen.
    pub rotational: Option<bool>,
}

impl Disk {
    /// A file of its queue, such as `/sys/block/vda/queue/scheduler`.
    #[must_use]
    pub fn queue(&self, file: &str) -> String {
        format!("/sys/block/{}/queue/{file}", self.name)
    }

    /// Whether heads move, as far as can be told: a virtual disk's claim is not believed.
    #[must_use]
    pub fn seeks(&self) -> bool {
        self.rotational == Some(true) && self.kind == Kind::Scsi
    }
}

/// What lies below a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// The device that is mounted, or the disk whose partition is: its read-ahead counts for buffered files.
    pub top: Option<String>,
    /// Devices between it and the disks, from above.
    pub layers: Vec<String>,
    /// The disks.
    pub disks: Vec<Disk>,
}

/// The stack below a mount. What cannot be seen is noted in the tree.
#[must_use]
pub fn below(tree: &Tree, mount: &Mount) -> Stack {
    let blocks = tree.names("/sys/block");
    if blocks.is_empty() {
        let why = "there is none, as in a container: nothing is known about the disk's queue";
        tree.unseen("/sys/block", why);
        return Stack::default();
    }
    let Some(top) = named(tree, &blocks, mount) else {
        if !mount.number.starts_with("0:") {
            let why = format!("no device has the number {}: the disk's queue is not known", mount.number);
            tree.unseen("/sys/block", &why);
        }
        return Stack::default();
    };
    let mut stack = Stack { top: Some(top.clone()), ..Stack::default() };
    descend(tree, &blocks, &top, 0, &mut BTreeSet::new(), &mut stack);
    stack
}

/// The device that a mount names by its number, or, as btrfs does, by its source only.
fn named(tree: &Tree, blocks: &[String], mount: &Mount) -> Option<String> {
    let has_number = |path: &str| tree.text(&format!("{path}/dev")).as_deref() == Some(&*mount.number);
    for name in blocks {
        let path = format!("/sys/block/{name}");
        if has_number(&path) || partitions(tree, name).any(|part| has_number(&format!("{path}/{part}"))) {
            return Some(name.clone());
        }
    }
    let source = mount.source.strip_prefix("/dev/")?;
    if let Some(mapped) = source.strip_prefix("mapper/") {
        let is = |name: &&String| tree.text(&format!("/sys/block/{name}/dm/name")).as_deref() == Some(mapped);
        return blocks.iter().find(is).cloned();
    }
    whole(tree, blocks, source)
}

/// Names of a disk's partitions: folders in its own that begin with its name.
fn partitions(tree: &Tree, name: &str) -> impl Iterator<Item = String> + use<> {
    let folder = format!("/sys/block/{name}");
    tree.names_like(&folder, |part| part.starts_with(name) && part != name).into_iter()
}

/// The disk of that name, or the one with that partition.
fn whole(tree: &Tree, blocks: &[String], name: &str) -> Option<String> {
    let is = |disk: &&String| *disk == name || partitions(tree, disk).any(|part| part == name);
    blocks.iter().find(is).cloned()
}

fn descend(
    tree: &Tree,
    blocks: &[String],
    name: &str,
    depth: usize,
    visited: &mut BTreeSet<String>,
    stack: &mut Stack,
) {
    if depth > DEPTH_MAX || stack.disks.len() >= DISKS_MAX || !visited.insert(name.to_owned()) {
        return;
    }
    let below = tree.names(&format!("/sys/block/{name}/slaves"));
    if below.is_empty() {
        stack.disks.push(disk(tree, name));
        return;
    }
    stack.layers.push(name.to_owned());
    for part in below {
        if let Some(next) = whole(tree, blocks, &part) {
            descend(tree, blocks, &next, depth + 1, visited, stack);
        }
    }
}

fn disk(tree: &Tree, name: &str) -> Disk {
    let vendor = tree.text(&format!("/sys/block/{name}/device/vendor")).unwrap_or_default();
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let kind = match name {
        _ if begins(&["vd", "xvd"]) => Kind::Virtual,
        _ if begins(&["nvme"]) => Kind::Nvme,
        _ if begins(&["sd"]) && VIRTUAL_VENDORS.iter().any(|known| vendor.starts_with(known)) => {
            Kind::Virtual
        }
        _ if begins(&["sd", "hd"]) => Kind::Scsi,
        _ if begins(&["mmcblk"]) => Kind::Flash,
        _ => Kind::Other,
    };
    let rotational = match tree.number(&format!("/sys/block/{name}/queue/rotational")) {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ => None,
    };
    Disk { name: name.to_owned(), kind, rotational }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    fn mount(number: &str, source: &str) -> Mount {
        let (point, file_system) = ("/".into(), "ext4".to_owned());
        Mount {
            point,
            file_system,
            source: source.to_owned(),
            number: number.to_owned(),
            options: Vec::new(),
        }
    }

    #[test]
    fn a_stack_is_followed_down_to_its_disks() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            ("sys/block/dm-0/dev", "253:0\n"),
            ("sys/block/dm-0/dm/name", "vg-store\n"),
            ("sys/block/dm-0/slaves/md0", ""),
            ("sys/block/md0/slaves/sda1", ""),
            ("sys/block/md0/slaves/sdb1", ""),
            ("sys/block/md0/slaves/dm-0", ""), // No kernel has such a circle.
            ("sys/block/sda/sda1/dev", "8:1\n"),
            ("sys/block/sda/queue/rotational", "1\n"),
            ("sys/block/sdb/sdb1/dev", "8:17\n"),
            ("sys/block/sdb/device/vendor", "QEMU    \n"),
        ];
        write(root.path(), &files);
        let tree = Tree::at(root.path());
        let stack = below(&tree, &mount("253:0", "/dev/mapper/vg-store"));
        assert_eq!(
            (stack.top.as_deref(), &stack.layers[..]),
            (Some("dm-0"), &["dm-0", "md0"].map(String::from)[..])
        );
        let kinds: Vec<_> =
            stack.disks.iter().map(|disk| (&*disk.name, disk.kind, disk.rotational, disk.seeks())).collect();
        assert_eq!(kinds, [("sda", Kind::Scsi, Some(true), true), ("sdb", Kind::Virtual, None, false)]);
        let by_name = below(&tree, &mount("0:33", "/dev/mapper/vg-store"));
        assert_eq!(by_name, stack, "btrfs has no number of its own");
        assert_eq!(below(&tree, &mount("0:33", "/dev/sdb1")).top.as_deref(), Some("sdb"));
        assert_eq!(below(&tree, &mount("8:17", "")).disks.len(), 1);
        assert!(tree.all_unseen().is_empty());
        assert_eq!(below(&tree, &mount("9:9", "")), Stack::default());
        assert_eq!(tree.all_unseen().len(), 1, "and it is said");
    }
}
