//! Faults in Spanish: what happened and what to do. The details of a case stay as the node wrote them.

use super::{Blame, FaultCode};

macro_rules! spanish {
    ($($variant:ident $happened:literal $to_do:literal;)*) => {
        /// What happened, and what to do.
        pub(super) const fn said(code: FaultCode) -> (&'static str, &'static str) {
            match code { $(FaultCode::$variant => ($happened, $to_do),)* }
        }
    };
}

spanish! {
    ClientUnidentified "no se sabe quién llama"
        "Llame con un certificado de cliente registrado, con la cabecera x-peabiru-token o por el socket Unix.";
    ClientNotAllowed "esta credencial no habla por ese subsistema"
        "Nombre en x-road-client un subsistema que [[clients]] del nodo permita a esta credencial.";
    ClientInvalid "falta el subsistema que llama, o está mal escrito"
        "Nómbrelo en X-Road-Client, como INSTANCIA/CLASE/MIEMBRO/SUBSISTEMA.";
    ClientUnknown "el subsistema que llama no se conoce"
        "Registre el subsistema y aloje a su miembro en este nodo.";
    ServiceUnknown "nadie ofrece ese servicio"
        "Vea los servicios con `peabiru contract list` y nombre uno en x-road-service.";
    ServiceAmbiguous "varios miembros ofrecen ese servicio"
        "Nombre uno en x-road-service.";
    ServiceType "el servicio es de otro tipo"
        "Llame a un servicio REST en /r1/ de la puerta, y a un servicio gRPC con gRPC.";
    MethodUnknown "el contrato no tiene ese método"
        "Llame a un método que describa el contrato registrado.";
    MethodStreamingUnsupported "ese método recibe un solo mensaje"
        "Envíe exactamente uno.";
    PurposeMissing "falta la finalidad"
        "Diga para qué en la cabecera x-peabiru-purpose, o ponga una por defecto en [routes] del nodo.";
    PurposeNotAllowed "esa finalidad no está permitida"
        "Use una finalidad que nombren el contrato y la autorización.";
    AccessNoGrant "no hay autorización para esta consulta"
        "Pida una al administrador del proveedor: `peabiru grant give`.";
    AccessGrantExpired "la autorización venció"
        "Pida al administrador del proveedor que la renueve.";
    PayloadTooLarge "el contenido es demasiado grande"
        "Envíe menos cada vez, por ejemplo por páginas.";
    PayloadInvalid "el contenido no es lo que permite el protocolo"
        "Envíe un mensaje gRPC tras cinco bytes de prefijo, o una llamada REST que se lea de una sola manera.";
    PayloadCompressed "esa compresión no se acepta"
        "Envíe los mensajes sin comprimir, o comprimidos con gzip (grpc-encoding: gzip).";
    MessageMalformed "el mensaje está mal formado"
        "El nodo que envía no habla bien este protocolo: actualícelo.";
    MessageAddressee "el mensaje es para otro nodo"
        "Actualice la configuración global del nodo que envía: este no aloja el servicio.";
    MessageExpired "el mensaje venció"
        "Compare los relojes de los dos nodos; también pudo demorarse en el camino.";
    MessageFromFuture "el mensaje viene del futuro"
        "Ajuste el reloj del nodo que envía.";
    MessageReplayed "el mensaje ya se había recibido"
        "Haga un intercambio nuevo; la copia de uno anterior nunca se responde otra vez.";
    MessageAltered "el contenido no es el que se selló"
        "Reintente, y avise si sigue.";
    SealInvalid "el sello no se sostiene"
        "El nodo que envía o su disco están dañados, o alguien interfiere.";
    SealUnknownLedger "el libro que sella no está registrado"
        "Registre el libro del nodo que envía, o actualice la configuración global.";
    SealCheckpointMissing "el punto de control no llegó a tiempo"
        "Reintente.";
    LedgerForked "el libro que envía contradice lo que mostró antes; se guardan las dos cabezas"
        "Llame a los oficiales del registro.";
    ContractMismatch "los nodos tienen contratos distintos"
        "Actualice la configuración global.";
    AnswerMismatch "el nodo del proveedor respondió otra cosa"
        "Avise a su administrador.";
    NodeUnknown "ningún nodo aloja a ese miembro"
        "Registre un nodo que lo aloje, o actualice la configuración global.";
    NodeNotProviders "ese nodo no aloja al proveedor"
        "Nombre en X-Road-Security-Server un nodo que lo aloje, o ninguno.";
    NodeUnreachable "no se llega al nodo del proveedor"
        "Reintente más tarde; revise su dirección y su cortafuegos.";
    NodeOverloaded "el nodo está sobrecargado"
        "Reintente más tarde, con menos llamadas a la vez.";
    NodeDraining "el nodo se está deteniendo"
        "Reintente en unos segundos.";
    NodeDiskFull "el disco del nodo está lleno"
        "Libere espacio en el disco del nodo.";
    NodeNoGlobalconf "el nodo todavía no tiene configuración global"
        "Deje que alcance una vez al registro; véase `peabiru globalconf show`.";
    GlobalconfExpired "la configuración global venció"
        "Deje que el nodo alcance al registro; aquello en lo que todos confían ya no es lo bastante reciente.";
    GlobalconfStale "las novedades del registro no son lo bastante recientes"
        "Deje que el nodo del proveedor alcance al registro: para este servicio las exige más recientes.";
    ExchangeOutcomeUnknown "la consulta salió y no llegó respuesta: tal vez se hizo"
        "Pregunte con `peabiru exchange status` antes de repetirla.";
    ExchangeDeadline "se acabó el tiempo"
        "No alcanzó el tiempo que permiten quien llama, el contrato o el mensaje.";
    StreamBroken "una pieza del flujo no se sostiene o no sigue a la anterior"
        "Ábralo de nuevo, y avise si sigue.";
    StreamCancelled "la otra parte abandonó el flujo"
        "Lo que llegó antes queda entregado.";
    StreamIdle "por el flujo no pasó nada durante demasiado tiempo"
        "Ábralo de nuevo, y envíe algo de vez en cuando.";
    StreamFlood "el nodo que envía hace lotes pequeños más rápido de lo que permite el protocolo"
        "Actualícelo.";
    ServiceUnreachable "no se llega al servicio de la institución"
        "Póngalo en marcha, o corrija su url en [[services]] del nodo.";
    ServiceProtocol "el servicio de la institución no responde como dice su contrato"
        "Debe hablar gRPC sobre HTTP/2, o HTTP/1.1.";
    EvidenceUnknown "ningún asiento de ese intercambio está en el libro"
        "Revise el identificador y el miembro.";
    RequestInvalid "el pedido no es válido"
        "Corrija lo que nombra el mensaje.";
    RegistryRefused "el registro se niega"
        "Corrija lo que nombra el mensaje; no se cambió nada.";
    OperatorNotAllowed "este operador no puede hacerlo"
        "Llame como otro operador, uno al que [[operators]] del registro se lo permita; véase `peabiru approval list`.";
    ApprovalSamePerson "nadie aprueba su propia propuesta"
        "Debe aprobarla otro oficial: `peabiru approval approve NÚMERO --operator EL-SUYO`. Quien la propuso puede retirarla: `peabiru approval reject NÚMERO`.";
    Internal "un defecto del nodo"
        "Vea su registro de eventos, y avise.";
}

/// Who can mend it.
pub(super) const fn blamed(blame: Blame) -> &'static str {
    match blame {
        Blame::Caller => "la aplicación que llamó",
        Blame::Consumer => "el administrador del nodo que consulta",
        Blame::Provider => "el administrador del nodo o del servicio que responde",
        Blame::Registry => "los oficiales del registro",
        Blame::Network => "quien opera la red entre los nodos",
    }
}
