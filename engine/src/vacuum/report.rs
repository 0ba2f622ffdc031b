//! What a run of the vacuum did, found, and left.

/// See the module. Fields are only ever added. Bytes are bytes on disk unless said otherwise.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct VacuumReport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// It was told to stop; the next run goes on.
    pub cancelled: bool,
    /// Streams whose chunks were marked as needed.
    pub streams: u64,
    /// Containers surveyed: those that are sealed.
    pub containers: u64,
    /// Their bytes.
    pub container_bytes: u64,
    /// Of those, bytes of chunks that a stream needs, or may need.
    pub needed_bytes: u64,
    /// Bytes of chunks that no stream needs, and of copies that are not used.
    pub dead_bytes: u64,
    /// Containers over the limit that this run began to empty, or would have.
    pub chosen: u64,
    /// Dead bytes in those.
    pub chosen_dead_bytes: u64,
    /// Dead bytes that stay because their containers are below the limit.
    pub below_limit_dead_bytes: u64,
    /// Containers freed.
    pub freed_containers: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Chunks moved out of them.
    pub moved_chunks: u64,
    /// Bytes of those, before compression.
    pub moved_bytes: u64,
    /// Containers that wait for streams to end that were begun before they left.
    pub waiting_for_streams: u64,
    /// Containers that wait for readers that began before they were emptied.
    pub waiting_for_readers: u64,
    /// Bytes of all containers that are begun and not freed.
    pub waiting_bytes: u64,
    /// Containers that hold something needed that cannot be read: kept, for `gdd fsck`.
    pub quarantined: Vec<String>,
    /// Damaged containers in which nothing is needed any more: their files lie in `quarantine/` now.
    pub retired: Vec<String>,
    /// Chunks that could not be read.
    pub lost_chunks: u64,
    /// Bytes of memory that the marks take.
    pub memory_bytes: u64,
    /// Time for reading what the streams need.
    pub seconds_marking: f64,
    /// Time for looking through the index.
    pub seconds_surveying: f64,
    /// Time for moving and freeing.
    pub seconds_moving: f64,
    /// Time in all.
    pub seconds: f64,
}
