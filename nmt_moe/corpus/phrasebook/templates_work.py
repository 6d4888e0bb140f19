"""Templates of the domains office and time."""

from __future__ import annotations

from nmt_moe.corpus.phrasebook.template import Template

OFFICE = [
    Template(
        "office",
        en="Please send the {paper} to {person} by {weekday}.",
        de="Bitte schicken Sie {paper:den} bis {weekday} an {person:Herrn}.",
        fr="Envoyez {paper:le} à {person} d'ici {weekday}, s'il vous plaît.",
    ),
    Template(
        "office",
        en="The {device} in room {door} is not working.",
        de="{device:der} in Raum {door} ist kaputt.",
        fr="{device:le} de la salle {door} est en panne.",
    ),
    Template(
        "office",
        en="{person} is looking for your {paper}.",
        de="{person:Herr} sucht {paper:Ihren}.",
        fr="{person} cherche votre {paper}.",
    ),
    Template(
        "office",
        en="I cannot find my {papers}.",
        de="Ich finde {papers} nicht.",
        fr="Je ne trouve pas {papers}.",
    ),
    Template(
        "office",
        en="The meeting with {person} begins at {time} in room {door}.",
        de="Die Besprechung mit {person:Herrn} beginnt um {time} Uhr in Raum {door}.",
        fr="La réunion avec {person} commence à {time} dans la salle {door}.",
    ),
    Template(
        "office",
        en="{person} has an appointment with {person2} on {day}.",
        de="{person:Herr} hat am {day} einen Termin mit {person2:Herrn}.",
        fr="{person} a rendez-vous avec {person2} le {day}.",
    ),
    Template(
        "office",
        en="We need {few} chairs and a new {device} for the office.",
        de="Wir brauchen {few} Stühle und {device:neuen} für das Büro.",
        fr="Il nous faut {few} chaises et {device:nouveau} pour le bureau.",
    ),
    Template(
        "office",
        en="The {paper} has {count} pages.",
        de="{paper:der} hat {count} Seiten.",
        fr="{paper:le} a {count} pages.",
    ),
    Template(
        "office",
        en="Please look at page {count} in the {paper}.",
        de="Bitte sehen Sie sich Seite {count} {paper:im} an.",
        fr="Regardez la page {count} dans {paper:le}, s'il vous plaît.",
    ),
    Template(
        "office",
        en="This {paper} is written in {tongue}.",
        de="{paper:dieser} ist auf {tongue} geschrieben.",
        fr="{paper:ce} est en {tongue}.",
    ),
    Template(
        "office",
        en="{names} are working on the {paper}.",
        de="{names} arbeiten {paper:am}.",
        fr="{names} travaillent sur {paper:le}.",
    ),
    Template(
        "office",
        en="Has {person} already read my {paper}?",
        de="Hat {person:Herr} {paper:meinen} schon gelesen?",
        fr="Est-ce que {person} a déjà lu {paper:mon} ?",
    ),
    Template(
        "office",
        en="We are opening a new office in {city} with {count} employees.",
        de="Wir eröffnen in {city} ein neues Büro mit {count} Beschäftigten.",
        fr="Nous ouvrons un nouveau bureau à {city} avec {count} employés.",
    ),
    Template(
        "office",
        en="Sales {country:in} have risen by {percent} since {year}.",
        de="Der Umsatz {country:in} ist seit {year} um {percent} gestiegen.",
        fr="Les ventes {country:in} ont augmenté de {percent} depuis {year}.",
    ),
]

TIME = [
    Template(
        "time",
        en="Today is {date:full}.",
        de="Heute ist {date:der}.",
        fr="Nous sommes le {date:full}.",
    ),
    Template(
        "time",
        en="The course starts on {date:full}, at {time}.",
        de="Der Kurs beginnt am {date:dem}, um {time} Uhr.",
        fr="Le cours commence le {date:full} à {time}.",
    ),
    Template(
        "time",
        en="{name} will be back {wait:in}.",
        de="{name} ist {wait:in} wieder da.",
        fr="{name} sera de retour {wait:in}.",
    ),
    Template(
        "time",
        en="{name} moved to {city} {span:ago}.",
        de="{name} ist {span:ago} nach {city} gezogen.",
        fr="{name} a emménagé à {city} {span:ago}.",
    ),
    Template(
        "time",
        en="The {venue} in {city} was built in {year}.",
        de="{venue:der} in {city} wurde {year} gebaut.",
        fr="La construction {venue:du} à {city} date de {year}.",
    ),
    Template(
        "time",
        en="In {month} and {month2} the {venue} does not open on {weekday}.",
        de="Im {month} und im {month2} öffnet {venue:der} am {weekday} nicht.",
        fr="En {month} et en {month2}, {venue:le} n'ouvre pas le {weekday}.",
    ),
    Template(
        "time",
        en="The {venue} opens every {weekday} at {time}.",
        de="{venue:der} öffnet jeden {weekday} um {time} Uhr.",
        fr="{venue:le} ouvre tous les {weekday:s} à {time}.",
    ),
    Template(
        "time",
        en="The holidays begin on {date}, and last {few} weeks.",
        de="Die Ferien beginnen am {date} und dauern {few} Wochen.",
        fr="Les vacances commencent le {date} et durent {few} semaines.",
    ),
    Template(
        "time",
        en="The trip to {city} takes {trip} {vehicle}.",
        de="Die Reise nach {city} dauert {vehicle} {trip}.",
        fr="Le voyage à {city} dure {trip} {vehicle}.",
    ),
    Template(
        "time",
        en="Can we meet on {weekday} at {time} instead of {weekday2}?",
        de="Können wir uns am {weekday} um {time} Uhr statt am {weekday2} treffen?",
        fr="Pouvons-nous nous voir {weekday} à {time} au lieu de {weekday2} ?",
    ),
    Template(
        "time",
        en="My birthday is on {day}, and my {family}'s is on {day2}.",
        de="Ich habe am {day} Geburtstag, und {family:mein} am {day2}.",
        fr="Mon anniversaire est le {day}, et celui de {family:mon} est le {day2}.",
    ),
    Template(
        "time",
        en="It is {time} in {city} and {time2} in {city2}.",
        de="In {city} ist es {time} Uhr und in {city2} {time2} Uhr.",
        fr="Il est {time} à {city} et {time2} à {city2}.",
    ),
]
