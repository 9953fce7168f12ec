//! Which tokens a layer may keep: budgets, windows, presets, selection. No tensor in here.

mod budget;
mod config;
mod select;
mod task;
mod windows;

pub use budget::{BudgetRule, layer_budgets};
pub use config::{ModelShape, WindowKvConfig};
pub use select::{WindowChoice, top_indices};
pub use task::{ModelPreset, Strategy, Task, TaskMapping, TaskPreset};
pub use windows::Windows;
