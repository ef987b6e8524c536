//! The road: doors, router, link, guard, dispatcher.
