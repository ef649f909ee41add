//! k0s and k0sctl documents read into checked settings, every finding with its position.
