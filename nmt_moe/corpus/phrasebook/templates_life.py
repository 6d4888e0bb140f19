"""Templates of the domains health, talk and numbers."""

from __future__ import annotations

from nmt_moe.corpus.phrasebook.template import Template

HEALTH = [
    Template(
        "health",
        en="I have had {symptom} for {stay}.",
        de="Ich habe seit {stay:dat} {symptom}.",
        fr="J'ai {symptom} depuis {stay}.",
    ),
    Template(
        "health",
        en="My {body} has been hurting since {weekday}.",
        de="Mir tut seit {weekday} {body:der} weh.",
        fr="J'ai mal {body:au} depuis {weekday}.",
    ),
    Template(
        "health",
        en="I have an appointment with the {doctor} on {day} at {time}.",
        de="Ich habe am {day} um {time} Uhr einen Termin {doctor:beim}.",
        fr="J'ai rendez-vous chez {doctor:le} le {day} à {time}.",
    ),
    Template(
        "health",
        en="Take one tablet every {few} hours for {stay}.",
        de="Nehmen Sie {stay} lang alle {few} Stunden eine Tablette.",
        fr="Prenez un comprimé toutes les {few} heures pendant {stay}.",
    ),
    Template(
        "health",
        en="My {family} is allergic to {allergen}.",
        de="{family:mein} ist gegen {allergen} allergisch.",
        fr="{family:mon} a une allergie {allergen}.",
    ),
    Template(
        "health",
        en="{name} is allergic to {allergen} and {allergen2}.",
        de="{name} ist gegen {allergen} und {allergen2} allergisch.",
        fr="{name} a une allergie {allergen} et {allergen2}.",
    ),
    Template(
        "health",
        en="I need {remedy:a} and {remedy2:a}, please.",
        de="Ich brauche bitte {remedy:einen} und {remedy2:einen}.",
        fr="Il me faut {remedy:un} et {remedy2:un}, s'il vous plaît.",
    ),
    Template(
        "health",
        en="The {doctor} sees patients from {hours:open} to {hours:close}.",
        de="{doctor:der} hat von {hours:open} bis {hours:close} Uhr Sprechstunde.",
        fr="{doctor:le} reçoit de {hours:open} à {hours:close}.",
    ),
    Template(
        "health",
        en="My {family} has {symptom} and stayed at home on {weekday}.",
        de="{family:mein} hat {symptom} und ist am {weekday} zu Hause geblieben.",
        fr="{family:mon} a {symptom} et n'a pas quitté la maison {weekday}.",
    ),
    Template(
        "health",
        en="Is there {doctor:a} near the {place} in {city}?",
        de="Gibt es in der Nähe {place:vom} in {city} {doctor:einen}?",
        fr="Y a-t-il {doctor:un} près {place:du} à {city} ?",
    ),
    Template(
        "health",
        en="My {family} broke an arm {stay:ago} and still needs {remedy:a}.",
        de="{family:mein} hat sich {stay:ago} den Arm gebrochen und braucht noch {remedy:einen}.",
        fr="{family:mon} s'est cassé le bras {stay:ago} et a encore besoin d'{remedy:un}.",
    ),
    Template(
        "health",
        en="You should stay in bed for {stay} and call the {doctor} on {weekday}.",
        de="Sie sollten {stay} im Bett bleiben und am {weekday} {doctor:den} anrufen.",
        fr="Vous devriez rester au lit pendant {stay} et appeler {doctor:le} {weekday}.",
    ),
]

TALK = [
    Template(
        "talk",
        en="My name is {name}, and I come {country:from}.",
        de="Ich heiße {name} und komme {country:from}.",
        fr="Je m'appelle {name} et je viens {country:from}.",
    ),
    Template(
        "talk",
        en="I live in {city}, but my {family} lives {country:in}.",
        de="Ich wohne in {city}, aber {family:mein} wohnt {country:in}.",
        fr="J'habite à {city}, mais {family:mon} habite {country:in}.",
    ),
    Template(
        "talk",
        en="My {family} is {age} years old and speaks {tongue}.",
        de="{family:mein} ist {age} Jahre alt und spricht {tongue}.",
        fr="{family:mon} a {age} ans et parle {tongue}.",
    ),
    Template(
        "talk",
        en="Do you speak {tongue} or {tongue2}?",
        de="Sprechen Sie {tongue} oder {tongue2}?",
        fr="Parlez-vous {tongue} ou {tongue2} ?",
    ),
    Template(
        "talk",
        en="I have been learning {tongue} for {span}.",
        de="Ich lerne seit {span:dat} {tongue}.",
        fr="J'apprends {tongue:le} depuis {span}.",
    ),
    Template(
        "talk",
        en="{name} speaks {tongues}.",
        de="{name} spricht {tongues}.",
        fr="{name} parle {tongues}.",
    ),
    Template(
        "talk",
        en="On {weekday} it will {weather} in {city}.",
        de="Am {weekday} wird es in {city} {weather}.",
        fr="{weekday}, il va {weather} à {city}.",
    ),
    Template(
        "talk",
        en="It is {degrees} in {city}, and on {weekday} it will {weather} in {city2}.",
        de="In {city} sind es {degrees}, und am {weekday} wird es in {city2} {weather}.",
        fr="Il fait {degrees} à {city}, et {weekday} il va {weather} à {city2}.",
    ),
    Template(
        "talk",
        en="Can your {family} {hobby} and {hobby2}?",
        de="Kann {family:Ihr} {hobby} und {hobby2}?",
        fr="Est-ce que votre {family} sait {hobby} et {hobby2} ?",
    ),
    Template(
        "talk",
        en="On {weekday} {name} wants to {hobby} with {name2}.",
        de="Am {weekday} möchte {name} mit {name2} {hobby}.",
        fr="{weekday}, {name} veut {hobby} avec {name2}.",
    ),
    Template(
        "talk",
        en="My {family} works {country:in} and comes home in {month}.",
        de="{family:mein} arbeitet {country:in} und kommt im {month} nach Hause.",
        fr="{family:mon} travaille {country:in} et rentre à la maison en {month}.",
    ),
    Template(
        "talk",
        en="{names} are coming to {city} on {weekday}.",
        de="{names} kommen am {weekday} nach {city}.",
        fr="{names} viennent à {city} {weekday}.",
    ),
    Template(
        "talk",
        en="Have you already visited {city} and {city2}?",
        de="Haben Sie schon {city} und {city2} besucht?",
        fr="Avez-vous déjà visité {city} et {city2} ?",
    ),
]

NUMBERS = [
    Template(
        "numbers",
        en="{sum:a} plus {sum:b} is {sum:sum}.",
        de="{sum:a} plus {sum:b} ist {sum:sum}.",
        fr="{sum:a} plus {sum:b} font {sum:sum}.",
    ),
    Template(
        "numbers",
        en="{sum:sum} minus {sum:a} is {sum:b}.",
        de="{sum:sum} minus {sum:a} ist {sum:b}.",
        fr="{sum:sum} moins {sum:a} font {sum:b}.",
    ),
    Template(
        "numbers",
        en="How do you say {number} in {tongue}?",
        de="Wie sagt man {number} auf {tongue}?",
        fr="Comment dit-on {number} en {tongue} ?",
    ),
    Template(
        "numbers",
        en="{name} wrote the number {number} on page {count}.",
        de="{name} hat die Zahl {number} auf Seite {count} geschrieben.",
        fr="{name} a écrit le nombre {number} à la page {count}.",
    ),
    Template(
        "numbers",
        en="My apartment number is {number}, and yours is {number2}.",
        de="Meine Wohnungsnummer ist {number}, und Ihre ist {number2}.",
        fr="Mon numéro d'appartement est le {number}, et le vôtre est le {number2}.",
    ),
    Template(
        "numbers",
        en="It is the {ordinal} door on the left, number {number}.",
        de="Es ist die {ordinal} Tür links, Nummer {number}.",
        fr="C'est la {ordinal} porte à gauche, numéro {number}.",
    ),
    Template(
        "numbers",
        en="This is already my {ordinal} trip to {city} and my {ordinal2} to {city2}.",
        de="Das ist schon meine {ordinal} Reise nach {city} und meine {ordinal2} nach {city2}.",
        fr="C'est déjà mon {ordinal} voyage à {city} et mon {ordinal2} à {city2}.",
    ),
    Template(
        "numbers",
        en="{percent} of the guests come {country:from}, and {percent2} come {country2:from}.",
        de="{percent} der Gäste kommen {country:from} und {percent2} kommen {country2:from}.",
        fr="{percent} des clients viennent {country:from} et {percent2} viennent {country2:from}.",
    ),
    Template(
        "numbers",
        en="The package weighs {weight} and costs {price}.",
        de="Das Paket wiegt {weight} und kostet {price}.",
        fr="Le colis pèse {weight} et coûte {price}.",
    ),
    Template(
        "numbers",
        en="From {city} to {city2} it is {distance}.",
        de="Von {city} nach {city2} sind es {distance}.",
        fr="{city:de} à {city2}, il y a {distance}.",
    ),
    Template(
        "numbers",
        en="{name} paid {money} for {few} tickets.",
        de="{name} hat {money} für {few} Karten bezahlt.",
        fr="{name} a payé {money} pour {few} billets.",
    ),
    Template(
        "numbers",
        en="{name} finished in {ordinal} place, and {name2} in {ordinal2} place.",
        de="{name} belegte den {ordinal:en} Platz und {name2} den {ordinal2:en} Platz.",
        fr="{name} a pris la {ordinal} place et {name2} la {ordinal2} place.",
    ),
]
