"""Templates of the domains travel and hotel."""

from __future__ import annotations

from nmt_moe.corpus.phrasebook.template import Template

TRAVEL = [
    Template(
        "travel",
        en="The {transport} to {city} leaves at {departure}.",
        de="{transport:der} nach {city} geht um {departure} Uhr.",
        fr="{transport:le} pour {city} part à {departure}.",
    ),
    Template(
        "travel",
        en="The train from {city} to {city2} leaves at {departure} from platform {few:digits}.",
        de="Der Zug von {city} nach {city2} fährt um {departure} Uhr von Gleis {few:digits} ab.",
        fr="Le train {city:de} à {city2} part à {departure} du quai {few:digits}.",
    ),
    Template(
        "travel",
        en="When does the {transport} to {city} leave on {weekday}?",
        de="Wann geht am {weekday} {transport:der} nach {city}?",
        fr="Quand part {transport:le} pour {city} {weekday} ?",
    ),
    Template(
        "travel",
        en="I would like {few} tickets to {city} for {day}, please.",
        de="Ich hätte gern {few} Fahrkarten nach {city} für den {day}, bitte.",
        fr="Je voudrais {few} billets pour {city} pour le {day}, s'il vous plaît.",
    ),
    Template(
        "travel",
        en="How do I get from the {place} to the {place2}?",
        de="Wie komme ich {place:vom} {place2:zum}?",
        fr="Comment aller {place:du} {place2:au} ?",
    ),
    Template(
        "travel",
        en="It is {walk} from the {place} to the {place2}.",
        de="{place:vom} {place2:zum} sind es {walk}.",
        fr="Il y a {walk} {place:du} {place2:au}.",
    ),
    Template(
        "travel",
        en="We are traveling from {city} to {city2} {vehicle}.",
        de="Wir reisen {vehicle} von {city} nach {city2}.",
        fr="Nous voyageons {city:de} à {city2} {vehicle}.",
    ),
    Template(
        "travel",
        en="Next year I would like to travel {country:to} for {few} weeks.",
        de="Nächstes Jahr möchte ich für {few} Wochen {country:to} reisen.",
        fr="L'année prochaine, je voudrais aller {country:to} pour {few} semaines.",
    ),
    Template(
        "travel",
        en="The {transport} {country:from} is {wait} late.",
        de="{transport:der} {country:from} hat {wait} Verspätung.",
        fr="{transport:le} {country:from} a {wait} de retard.",
    ),
    Template(
        "travel",
        en="A ticket to {city} costs {price}.",
        de="Eine Fahrkarte nach {city} kostet {price}.",
        fr="Un billet pour {city} coûte {price}.",
    ),
    Template(
        "travel",
        en="Our flight {country:to} leaves on {day} at {departure}.",
        de="Unser Flug {country:to} geht am {day} um {departure} Uhr.",
        fr="Notre vol pour {country:le} part le {day} à {departure}.",
    ),
    Template(
        "travel",
        en="This summer we are visiting {cities}.",
        de="In diesem Sommer besuchen wir {cities}.",
        fr="Cet été, nous visitons {cities}.",
    ),
    Template(
        "travel",
        en="Please get off at the {ordinal} stop, near the {place}.",
        de="Bitte steigen Sie an der {ordinal:en} Haltestelle aus, in der Nähe {place:vom}.",
        fr="Descendez au {ordinal} arrêt, près {place:du}, s'il vous plaît.",
    ),
    Template(
        "travel",
        en="Does this bus go to the {place} in {city}?",
        de="Fährt dieser Bus {place:zum} in {city}?",
        fr="Est-ce que ce bus va {place:au} à {city} ?",
    ),
    Template(
        "travel",
        en="Destination: {country}. Date: {date}.",
        de="Reiseziel: {country}. Datum: {date}.",
        fr="Destination : {country}. Date : {date}.",
    ),
]

HOTEL = [
    Template(
        "hotel",
        en="I would like {room:a} with a view of {view} for {few} nights.",
        de="Ich hätte gern {room:einen} mit Blick auf {view} für {few} Nächte.",
        fr="Je voudrais {room:un} avec vue sur {view} pour {few} nuits.",
    ),
    Template(
        "hotel",
        en="Do you have {room:a} for {day}?",
        de="Haben Sie {room:einen} für den {day}?",
        fr="Avez-vous {room:un} pour le {day} ?",
    ),
    Template(
        "hotel",
        en="The {room} costs {euros} per night.",
        de="{room:der} kostet {euros} pro Nacht.",
        fr="{room:le} coûte {euros} par nuit.",
    ),
    Template(
        "hotel",
        en="We are staying at the hotel in {city} for {stay}.",
        de="Wir bleiben {stay} im Hotel in {city}.",
        fr="Nous restons {stay} à l'hôtel à {city}.",
    ),
    Template(
        "hotel",
        en="The {fixture} in room {door} does not work.",
        de="{fixture:der} in Zimmer {door} funktioniert nicht.",
        fr="{fixture:le} de la chambre {door} ne fonctionne pas.",
    ),
    Template(
        "hotel",
        en="Could you bring {amenity:a} to room {door}, please?",
        de="Könnten Sie bitte {amenity:einen} auf Zimmer {door} bringen?",
        fr="Pourriez-vous apporter {amenity:un} dans la chambre {door}, s'il vous plaît ?",
    ),
    Template(
        "hotel",
        en="I need {amenities} for my room.",
        de="Ich brauche {amenities} für mein Zimmer.",
        fr="Il me faut {amenities} pour ma chambre.",
    ),
    Template(
        "hotel",
        en="Breakfast is served from {hours:open} on, and the bar closes at {hours:close}.",
        de="Frühstück gibt es ab {hours:open} Uhr, und die Bar schließt um {hours:close} Uhr.",
        fr="Le petit-déjeuner est servi à partir de {hours:open} et le bar ferme à {hours:close}.",
    ),
    Template(
        "hotel",
        en="We have a reservation for {person} for {few} nights from {day}.",
        de="Wir haben eine Reservierung für {person:Herrn} für {few} Nächte ab dem {day}.",
        fr="Nous avons une réservation pour {person} pour {few} nuits à partir du {day}.",
    ),
    Template(
        "hotel",
        en="Please wake me at {time} in room {door}.",
        de="Bitte wecken Sie mich um {time} Uhr in Zimmer {door}.",
        fr="Réveillez-moi à {time} dans la chambre {door}, s'il vous plaît.",
    ),
    Template(
        "hotel",
        en="{person} is arriving on {weekday} at {time}.",
        de="{person:Herr} kommt am {weekday} um {time} Uhr an.",
        fr="{person} arrive {weekday} à {time}.",
    ),
    Template(
        "hotel",
        en="The hotel is {walk} from the {place}.",
        de="Das Hotel ist {walk} {place:vom} entfernt.",
        fr="L'hôtel est à {walk} {place:du}.",
    ),
    Template(
        "hotel",
        en="Can we keep the {room} until {weekday}, {day}?",
        de="Können wir {room:den} bis {weekday}, den {day}, behalten?",
        fr="Pouvons-nous garder {room:le} jusqu'au {weekday} {day} ?",
    ),
]
