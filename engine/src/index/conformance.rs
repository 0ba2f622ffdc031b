//! What every index must do, stated once and run on each.

use super::keys::recipe::tests::example as recipe_row;
use super::tables::Tables;
use super::{Batch, ChunkEntry, ContainerRow, ContainerState, Holding, Index, MetaKey, RecipeState, Status};
use crate::format::codec::Codec;
use crate::ids::{ChunkHash, ContainerId, DomainTag, Epoch};

/// The hash of test chunk `n`.
pub fn hash(n: u32) -> ChunkHash {
    ChunkHash::of(&n.to_le_bytes())
}

/// An entry for test chunk `n`.
pub fn entry(n: u32) -> ChunkEntry {
    ChunkEntry {
        container: ContainerId(u64::from(n)),
        offset: n,
        stored_len: n + 1,
        raw_len: n + 2,
        codec: Codec::Lz4,
        status: Status::Live,
        pin_epoch: Epoch(n),
    }
}

/// A batch that puts these test chunks.
pub fn batch_of(numbers: &[u32]) -> Batch {
    Batch { chunks: numbers.iter().map(|&n| (hash(n), entry(n))).collect(), ..Batch::default() }
}

/// Whether `index` knows test chunk `n`, with the right entry.
pub fn locates(index: &dyn Index, n: u32) -> bool {
    let mut out = Vec::new();
    index.locate(&[hash(n)], &mut out).expect("a healthy index answers");
    out[0].inspect(|found| assert_eq!(*found, entry(n))).is_some()
}

/// The domains that have holdings in the suite.
const DOMAINS: [&str; 2] = ["site", "guest"];

fn holding(n: u32, domain: &str) -> Holding {
    Holding { hash: hash(n), domain: DomainTag::of(domain) }
}

/// All rows, read through the trait.
pub(super) fn contents(index: &dyn Index) -> Tables {
    let mut tables = Tables::default();
    let mut hashes = Vec::new();
    index
        .for_each_chunk(&mut |hash, entry| {
            hashes.push(hash);
            tables.chunks.insert(hash, entry);
            Ok(())
        })
        .unwrap();
    assert!(hashes.is_sorted(), "chunks come in the order of hashes");
    let containers = index.containers().unwrap();
    assert!(containers.is_sorted_by_key(|(id, _)| *id));
    tables.containers.extend(containers);
    let recipes = index.recipes().unwrap();
    assert!(recipes.is_sorted_by_key(|row| row.name.clone()));
    tables.recipes.extend(recipes.into_iter().map(|row| (row.name.clone(), row)));
    for domain in DOMAINS {
        let (mut all, mut held) = (hashes.clone(), Vec::new());
        all.push(hash(77_777));
        index.holds(DomainTag::of(domain), &all, &mut held).unwrap();
        let of = |hash: &ChunkHash| Holding { hash: *hash, domain: DomainTag::of(domain) };
        tables.holdings.extend(all.iter().zip(held).filter(|(_, held)| *held).map(|(hash, _)| of(hash)));
    }
    let suspects = index.suspects().unwrap();
    assert!(suspects.is_sorted());
    tables.suspects.extend(suspects);
    let checked = index.checked().unwrap();
    assert!(checked.is_sorted_by_key(|(id, _)| *id));
    tables.checked.extend(checked);
    for key in MetaKey::ALL {
        tables.meta.extend(index.meta(key).unwrap().map(|value| (key, value)));
    }
    tables
}

fn container_row(n: u32) -> ContainerRow {
    ContainerRow {
        state: ContainerState::Sealed,
        durable_len: u64::from(n),
        batch_seq: n,
        record_count: n,
        chain: [1; 32],
        capacity: 2,
        raw_bytes: 3,
        stored_bytes: 4,
    }
}

fn batches() -> Vec<Batch> {
    let mut first = batch_of(&(0..1000).collect::<Vec<_>>());
    first.containers = [300, 1, 2].map(|n| (ContainerId(n.into()), container_row(n))).to_vec();
    first.recipes = ["usr", "etc"].map(|name| recipe_row(name, [1; 7])).to_vec();
    first.meta.push((MetaKey::CleanEpoch, vec![1, 2]));
    first.holdings =
        vec![holding(3, "site"), holding(7, "guest"), holding(7, "site"), holding(77_777, "site")];
    let mut second = batch_of(&[1000]);
    first.suspects = [3, 7, 8].map(hash).to_vec();
    second.removed_suspects = vec![hash(7), hash(77_777)];
    second.suspects = vec![hash(1000)];
    second.holdings = vec![holding(9, "guest"), holding(7, "guest")];
    second.removed_chunks = vec![hash(5), hash(1000), hash(77_777)];
    second.removed_containers = vec![ContainerId(1)];
    second.removed_recipes = vec!["usr".to_owned()];
    second.recipes = vec![super::RecipeRow { state: RecipeState::Deleting, ..recipe_row("etc", [2; 7]) }];
    second.meta.push((MetaKey::CleanEpoch, vec![]));
    let mut third = batch_of(&[5]);
    (third.suspects, third.removed_suspects) = (vec![hash(3)], vec![hash(3), hash(1000)]);
    third.chunks.push((hash(6), ChunkEntry { status: Status::Corrupted, ..entry(6) }));
    third.chunks.push((hash(6), ChunkEntry { status: Status::Condemned, ..entry(6) }));
    vec![first, Batch::default(), second, third]
}

/// Run the suite on an index that holds no rows but perhaps `MetaKey::Store`.
pub fn check(index: &dyn Index) {
    let mut model = contents(index);
    let commits_before = index.statistics().commits;
    for batch in batches() {
        model.apply(&batch);
        index.commit(batch).unwrap();
        assert!(contents(index) == model, "after each commit the rows are the model's");
    }
    let asked: Vec<_> = [3, 77_777, 5, 3, 1000].map(hash).to_vec();
    let mut out = vec![None; 99];
    index.locate(&asked, &mut out).unwrap();
    assert_eq!(out, [Some(entry(3)), None, Some(entry(5)), Some(entry(3)), Some(entry(1000))]);
    index.locate(&[], &mut out).unwrap();
    assert_eq!(out, []);
    let mut held = vec![true; 99];
    index.holds(DomainTag::of("guest"), &[7, 3, 77_777, 7, 9].map(hash), &mut held).unwrap();
    assert_eq!(held, [true, false, false, true, true]);
    assert_eq!(index.container(ContainerId(2)).unwrap(), Some(container_row(2)));
    assert_eq!(index.container(ContainerId(1)).unwrap(), None);
    assert_eq!(index.recipe("etc").unwrap().map(|row| row.state), Some(RecipeState::Deleting));
    assert_eq!(index.recipe("usr").unwrap(), None);
    let statistics = index.statistics();
    assert_eq!((statistics.lookups, statistics.hits, statistics.commits - commits_before), (5, 4, 4));
    assert_eq!(statistics.chunks_committed, 1000 + 1 + 3);
    let estimate = index.chunk_count_estimate().unwrap();
    assert!((900..1200).contains(&estimate), "{estimate}");
    let mut visited = 0;
    let stopped = index.for_each_chunk(&mut |_, _| {
        visited += 1;
        if visited == 3 { Err(crate::error::Error::Invalid("enough".to_owned())) } else { Ok(()) }
    });
    assert!(stopped.is_err() && visited == 3, "the visitor can stop");
    index.close().unwrap();
    assert!(index.commit(batch_of(&[1])).is_err(), "a closed index takes nothing");
}

#[test]
fn merged_batches_do_what_they_do_one_after_another() {
    let (mut one_by_one, mut at_once, mut merged) = (Tables::default(), Tables::default(), Batch::default());
    assert!(merged.is_empty());
    for batch in batches() {
        one_by_one.apply(&batch);
        merged.append(batch);
    }
    at_once.apply(&merged);
    assert!(!merged.is_empty());
    assert!(one_by_one == at_once);
}
