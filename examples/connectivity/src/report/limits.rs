//! What the figures do not say.

use super::language::{Text, text};

pub(super) const LIMITS: [Text; 9] = [
    text(
        "No está publicado qué locales tienen banda ancha. El plan supone que a cada candidato le hace falta, mientras CONATEL o el MEC \
         no digan otra cosa; muestra necesidades y datos que faltan, no mide cobertura.",
        "Which site has broadband is not published. The plan treats every candidate as in need until CONATEL or MEC says otherwise; \
         it lists need and missing information, it does not measure coverage.",
    ),
    text(
        "Las cifras nacionales valen para el país entero: ninguna se reparte entre los distritos.",
        "National figures are national: none is spread over districts.",
    ),
    text(
        "De salud solo hay datos de hospitales e IPS; falta la red primaria. Su zona no está publicada, y por eso de muchos no se sabe si \
         son remotos; para su prioridad se usa, como aproximación, la parte rural del alumnado del distrito.",
        "Health facilities are hospitals and IPS only; the primary network is missing. Their zone is not published, so whether many are \
         remote is unknown; for their priority the rural share of the district's pupils stands in, as a proxy.",
    ),
    text(
        "Los usuarios de un establecimiento de salud son a lo sumo los habitantes de su distrito, contados una vez, en el año de su primer establecimiento.",
        "Users of a health facility are at most the residents of its district, counted once in the year of its first facility.",
    ),
    text(
        "El alumnado es de 1.º a 9.º grado de 2023 y la población la del censo 2022; ambos se mantienen constantes.",
        "Pupils are those of grades 1 to 9 in 2023, residents those of the 2022 census; both are held constant.",
    ),
    text(
        "Las distancias son líneas rectas a las escuelas de la capital departamental. De los lugares de los programas publicados no hay \
         coordenadas.",
        "Distances are straight lines to the schools of the department's capital. Places of published programmes have no coordinates.",
    ),
    text(
        "Los costos son de dos programas publicados que mezclaron obra y servicio y no cumplieron lo previsto: P02, que es parte de P01, y \
         P01, que se leyó en una reimpresión de prensa. Son precios de entonces, sin inflación y sin el servicio de los años que siguen. \
         Para salud se supone el costo de las escuelas; el tipo de cambio es un supuesto.",
        "Unit costs are those of two published programmes that mixed construction and service and fell short of plan: P02, which is part of \
         P01, and P01, which was read in a press reprint. They are prices of then, without inflation and without service in the years \
         that follow. For health facilities the cost of schools is assumed; the exchange rate is an assumption.",
    ),
    text(
        "El plan cubre los años 2024 a 2030 como si empezara en 2024: dice hasta dónde alcanzaría cada presupuesto, no qué se hizo en los años \
         que ya pasaron. Nada de lo que aquí se dice significa que un presupuesto esté aprobado.",
        "The plan fills the years 2024 to 2030 as if it began in 2024: it says what each budget would reach, not what was done in years that \
         have passed. Nothing here says that a budget was approved.",
    ),
    text(
        "Los espacios públicos se muestran, pero no entran en el plan: no está publicado dónde faltan.",
        "Public spaces are shown and not planned: where more are needed is not published.",
    ),
];
