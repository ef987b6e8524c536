//! Places and distances: the same on every machine, since no function of the platform's mathematics is used.

/// A place on WGS 84, in 1/100,000 of a degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// North positive.
    pub latitude_e5: i32,
    /// East positive.
    pub longitude_e5: i32,
}

impl Point {
    /// Metres to the other in a straight line over a sphere (haversine), rounded.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 20,038,000")]
    pub fn metres_to(self, other: Self) -> u32 {
        let radians = |e5: i32| (f64::from(e5) / 1e5).to_radians();
        let (from, to) = (radians(self.latitude_e5), radians(other.latitude_e5));
        let (north, east) = (to - from, radians(other.longitude_e5) - radians(self.longitude_e5));
        let half_chord = |angle: f64| libm::sin(angle / 2.0) * libm::sin(angle / 2.0);
        let square = half_chord(north) + libm::cos(from) * libm::cos(to) * half_chord(east);
        (2.0 * EARTH_RADIUS_METRES * libm::asin(square.sqrt().min(1.0))).round() as u32
    }

    /// Whether it can be in Paraguay: a box around the country, a little larger.
    #[must_use]
    pub fn is_near_paraguay(self) -> bool {
        (-2_800_000..=-1_900_000).contains(&self.latitude_e5)
            && (-6_300_000..=-5_400_000).contains(&self.longitude_e5)
    }

    /// Median of latitudes and of longitudes, each by itself; the lower one of two.
    #[must_use]
    pub fn median(points: &[Self]) -> Option<Self> {
        let middle = |of: fn(&Self) -> i32| {
            let mut sorted: Vec<_> = points.iter().map(of).collect();
            sorted.sort_unstable();
            sorted.get(sorted.len().saturating_sub(1) / 2).copied()
        };
        Some(Self { latitude_e5: middle(|it| it.latitude_e5)?, longitude_e5: middle(|it| it.longitude_e5)? })
    }
}

/// Mean radius of the earth (IUGG).
const EARTH_RADIUS_METRES: f64 = 6_371_008.8;

#[cfg(test)]
mod tests {
    use super::*;

    const fn point(latitude_e5: i32, longitude_e5: i32) -> Point {
        Point { latitude_e5, longitude_e5 }
    }

    #[test]
    fn a_degree_of_latitude_is_a_360th_of_the_way_around() {
        let metres = point(-2_500_000, -5_700_000).metres_to(point(-2_400_000, -5_700_000));
        assert_eq!(metres, 111_195);
        assert_eq!(point(0, 0).metres_to(point(0, 18_000_000)), 20_015_114);
        let (asuncion, encarnacion) = (point(-2_530_000, -5_764_000), point(-2_733_000, -5_587_000));
        assert_eq!(asuncion.metres_to(encarnacion), encarnacion.metres_to(asuncion));
        assert_eq!(asuncion.metres_to(asuncion), 0);
    }

    #[test]
    fn the_median_is_one_of_the_values_for_each_axis() {
        let points = [point(1, 30), point(9, 10), point(5, 20), point(7, 90)];
        assert_eq!(Point::median(&points), Some(point(5, 20)));
        assert_eq!(Point::median(&[]), None);
    }
}
