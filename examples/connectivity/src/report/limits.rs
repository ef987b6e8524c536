//! What the figures do not say.

use super::language::{Text, text};

pub(super) const LIMITS: [Text; 8] = [
    text(
        "Qué local tiene banda ancha no está publicado. El plan trata a cada candidato como necesitado mientras CONATEL o MEC no digan \
         otra cosa; enumera necesidad y datos que faltan, no mide cobertura.",
        "Which site has broadband is not published. The plan treats every candidate as in need until CONATEL or MEC says otherwise; \
         it lists need and missing information, it does not measure coverage.",
    ),
    text(
        "Las cifras nacionales son nacionales: ninguna se reparte entre los distritos.",
        "National figures are national: none is spread over districts.",
    ),
    text(
        "De salud hay solo hospitales e IPS; falta la red primaria. Su zona no está publicada, y por eso de muchos no se sabe si son \
         remotos; en su prioridad la sustituye, como aproximación, la parte rural del alumnado del distrito.",
        "Health facilities are hospitals and IPS only; the primary network is missing. Their zone is not published, so whether many are \
         remote is unknown; for their priority the rural share of the district's pupils stands in, as a proxy.",
    ),
    text(
        "Los usuarios de un establecimiento de salud son a lo sumo los habitantes de su distrito, contados una vez.",
        "Users of a health facility are at most the residents of its district, counted once in the year of its first facility.",
    ),
    text(
        "El alumnado es de 1.º a 9.º grado de 2023 y la población la del censo 2022; ambos se mantienen constantes.",
        "Pupils are those of grades 1 to 9 in 2023, residents those of the 2022 census; both are held constant.",
    ),
    text(
        "Las distancias son líneas rectas a las escuelas de la capital departamental. Los lugares de los programas publicados no tienen \
         coordenadas.",
        "Distances are straight lines to the schools of the department's capital. Places of published programmes have no coordinates.",
    ),
    text(
        "Los costos son de dos programas que mezclaron obra y servicio y no cumplieron lo previsto; para salud se supone el costo de las \
         escuelas; el tipo de cambio es un supuesto.",
        "Unit costs are those of two programmes that mixed construction and service and fell short of plan; for health facilities the \
         cost of schools is assumed; the exchange rate is an assumption.",
    ),
    text(
        "Los espacios públicos se muestran y no se planifican: dónde faltan no está publicado.",
        "Public spaces are shown and not planned: where more are needed is not published.",
    ),
];
