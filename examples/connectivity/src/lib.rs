//! Reference scenario: where schools lack broadband; agencies services and planner over the road.
