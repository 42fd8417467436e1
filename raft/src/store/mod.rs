pub mod engine; /// Handle. 
#[derive(Clone,Debug)] pub struct SnapshotHandle;
